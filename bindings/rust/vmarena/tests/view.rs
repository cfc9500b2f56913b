// SPDX-License-Identifier: MIT
//! Files as memory, and files that shrink meanwhile.
use std::fs::{self, OpenOptions};

use vmarena::{page_size, Kind, View, ViewMut};

fn file(name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("vmarena-{}-{name}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn reading_and_truncation() {
    let page = page_size();
    let path = file("read", &vec![7u8; 3 * page]);
    let view = View::open(&path).unwrap();
    let mut bytes = vec![0u8; 2 * page];
    view.read_at(page / 2, &mut bytes).unwrap();
    assert!(bytes.iter().all(|b| *b == 7));
    OpenOptions::new().write(true).open(&path).unwrap().set_len(page as u64).unwrap();
    let (done, fault) = view.read_at(page / 2, &mut bytes).unwrap_err();
    assert_eq!((done, fault.kind(), fault.signal()), (page / 2, Kind::PastEndOfFile, 7));
    assert_eq!(fault.file_offset(), page as u64);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(3 * page as u64).unwrap();
    view.read_at(page / 2, &mut bytes).unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn writing_shared_and_private() {
    let path = file("write", b"first");
    let mut private = ViewMut::copy_on_write(&path).unwrap();
    private.write_at(0, b"F").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first");
    let mut shared = ViewMut::shared(&path).unwrap();
    shared.write_at(1, b"I").unwrap();
    shared.sync().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"fIrst");
    fs::remove_file(path).unwrap();
}

#[test]
fn what_is_no_file() {
    assert_eq!(View::open("/nonexistent/file").unwrap_err().errno(), 2);
    assert_eq!(View::open("/").unwrap_err().errno(), 21);
    let path = file("empty", b"");
    assert_eq!(View::open(&path).unwrap_err().errno(), 61);
    fs::remove_file(path).unwrap();
    assert!(View::open("a\0b").is_err());
}
