// SPDX-License-Identifier: MIT
//! Files as memory, and files that shrink meanwhile.
use std::fs::{self, OpenOptions};

use vmarena::{page_size, try_read, Advice, Kind, Side, View, ViewMut, ViewOptions};

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

#[test]
fn windows_that_move() {
    let page = page_size();
    let bytes: Vec<u8> = (0..4 * page).map(|i| (i / page) as u8).collect();
    let path = file("window", &bytes);
    let mut view = ViewOptions::new().window(page as u64 + 10, page).name("four").open(&path).unwrap();
    assert_eq!((view.len(), view.offset()), (page, page as u64 + 10));
    let mut got = [0u8; 2];
    view.read_at(page - 11, &mut got).unwrap();
    assert_eq!(got, [1, 2]);
    view.move_to(3 * page as u64, 0).unwrap();
    view.read_at(page - 2, &mut got).unwrap();
    assert_eq!((got, view.len(), view.offset()), ([3, 3], page, 3 * page as u64));
    assert_eq!(view.move_to(5 * page as u64, 0).unwrap_err().errno(), 34);
    view.populate(0..page).unwrap();
    assert_eq!(view.info().unwrap().resident, page);
    for advice in [Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::Normal, Advice::DontNeed] {
        view.advise(0..page, advice).unwrap();
    }
    assert_eq!(view.info().unwrap().resident, 0);
    view.lock(0..1, true).unwrap();
    view.lock(0..1, false).unwrap();
    view.populate(3..3).unwrap();
    assert_eq!(view.populate(0..page + 1).unwrap_err().errno(), 34);
    #[allow(clippy::reversed_empty_ranges)] // that is the error
    let error = view.populate(2..1).unwrap_err();
    assert_eq!(error.errno(), 22);
    assert_eq!(view.info().unwrap().file_size, 4 * page as u64);
    assert_eq!(ViewOptions::new().window(0, 5 * page).open(&path).unwrap_err().errno(), 34);
    fs::remove_file(path).unwrap();
}

#[test]
fn an_end_flush_against_a_guard() {
    let path = file("fenced", b"ten bytes!");
    let open = fs::File::open(&path).unwrap();
    let view = ViewOptions::new().fence(Side::End).open_file(&open).unwrap();
    assert!(view.info().unwrap().copied);
    assert_eq!(view.info().unwrap().tail, 0);
    // SAFETY: one past the end; nothing is there.
    let fault = unsafe { try_read(view.as_ptr().add(10)) }.unwrap_err();
    assert_eq!((fault.kind(), fault.distance()), (Kind::Overrun, 1));
    fs::remove_file(path).unwrap();
}
