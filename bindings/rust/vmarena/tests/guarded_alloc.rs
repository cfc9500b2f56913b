// SPDX-License-Identifier: MIT
//! A whole test program whose every allocation is guarded.
use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::mpsc;

use vmarena::{GuardedAlloc, Heap, Side};

#[global_allocator]
static ALLOCATOR: GuardedAlloc = GuardedAlloc::new(Side::End);

#[test]
fn collections_and_threads() {
    let mut map = HashMap::new();
    let mut tree = BTreeMap::new();
    for i in 0..2000u32 {
        map.insert(i.to_string(), vec![i; (i % 50) as usize]);
        tree.insert(i, i.to_string());
    }
    map.retain(|_, v| v.len() % 2 == 0);
    assert_eq!((map.len(), tree[&1999].as_str()), (1000, "1999"));
    let (sender, receiver) = mpsc::channel::<Box<[u8]>>();
    let thread = std::thread::spawn(move || receiver.iter().map(|b| b.len()).sum::<usize>());
    for i in 0..1000 {
        sender.send(vec![0; i].into_boxed_slice()).unwrap();
    }
    drop(sender);
    assert_eq!(thread.join().unwrap(), 499_500);
}

#[test]
fn large_alignments_and_growth() {
    #[repr(align(4096))]
    struct Wide(#[allow(dead_code)] [u8; 100]);
    let wide = Box::new(Wide([1; 100]));
    assert_eq!(std::ptr::addr_of!(*wide) as usize % 4096, 0);
    let mut bytes = Vec::new();
    for i in 0..100_000u32 {
        bytes.extend_from_slice(&i.to_ne_bytes());
    }
    assert_eq!(bytes.len(), 400_000);
    assert_eq!(vec![0u64; 10_000].iter().sum::<u64>(), 0);
}

#[test]
fn a_heap_of_its_own() {
    let heap = Heap::new(Side::Start).unwrap();
    let object = heap.alloc(std::alloc::Layout::new::<[u8; 24]>()).unwrap();
    assert!(heap.owns(object.as_ptr()));
    // SAFETY: the object is ours; the first read is one byte before it, which faults.
    unsafe {
        let fault = vmarena::try_read(object.as_ptr().sub(1)).unwrap_err();
        assert_eq!((fault.distance(), fault.kind()), (-1, vmarena::Kind::Underrun));
        heap.check().unwrap();
        heap.free(object).unwrap();
        let fault = vmarena::try_read(object.as_ptr()).unwrap_err();
        assert_eq!(fault.kind(), vmarena::Kind::UseAfterFree);
        assert_eq!(heap.free(object).unwrap_err().errno(), 114);
    }
}

/// Runs one test of this program again, as a child that commits the error it is about, and dies of it.
fn child(test: &str) -> (Option<i32>, String) {
    use std::os::unix::process::ExitStatusExt;
    assert!(!is_child(), "the error went unnoticed");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("RUST_BACKTRACE", "0")
        .env("VMARENA_TEST_CHILD", test)
        .output()
        .unwrap();
    (output.status.signal(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn is_child() -> bool {
    std::env::var_os("VMARENA_TEST_CHILD").is_some()
}

#[test]
fn an_overrun_ends_the_program_at_the_byte() {
    if is_child() {
        let bytes = vec![1u8; 10].into_boxed_slice();
        // SAFETY: there is none: that is the error.
        unsafe { bytes.as_ptr().add(10).read_volatile() };
    }
    let (signal, said) = child("an_overrun_ends_the_program_at_the_byte");
    assert_eq!(signal, Some(11), "{said}");
    assert!(said.contains("vmarena: overrun: read 1 byte past the end of a 10-byte object at "), "{said}");
}

#[test]
fn a_double_free_ends_the_program() {
    if is_child() {
        let bytes = std::mem::ManuallyDrop::new(vec![1u8; 10]);
        // SAFETY: there is none: that is the error.
        unsafe {
            drop(Vec::from_raw_parts(bytes.as_ptr() as *mut u8, 10, 10));
            drop(Vec::from_raw_parts(bytes.as_ptr() as *mut u8, 10, 10));
        }
    }
    let (signal, said) = child("a_double_free_ends_the_program");
    assert_eq!(signal, Some(6), "{said}");
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("vmarena: ")).collect();
    assert!(lines[0].starts_with("vmarena: double free: 10 bytes at 0x"), "{said}");
    assert!(lines[0].ends_with(", aligned to 1"), "{said}");
    let stacks: Vec<&str> =
        lines.iter().copied().filter(|line| line.starts_with("  ") && line.ends_with(':')).collect();
    let thread = stacks[0].strip_prefix("  allocated by ").expect(&said);
    assert_eq!(stacks[1..], [format!("  freed by {thread}"), format!("  found by {thread}")], "{said}");
    // Each goes from the allocator down to the test program's own frames.
    let program = std::env::current_exe().unwrap();
    let frames = lines.iter().filter(|line| line.starts_with(&format!("    {}+0x", program.display()))).count();
    assert!(frames >= 3 * 5, "{said}");
}

/// Grows a 10-byte allocation as one of this layout.
fn grow_as(layout: std::alloc::Layout) {
    // SAFETY: there is none: that is the error.
    unsafe {
        let object = std::alloc::alloc(std::alloc::Layout::from_size_align(10, 2).unwrap());
        let _ = std::alloc::realloc(object, layout, 20);
    }
}

#[test]
fn a_realloc_with_another_size_ends_the_program() {
    if is_child() {
        grow_as(std::alloc::Layout::from_size_align(11, 2).unwrap());
    }
    let (signal, said) = child("a_realloc_with_another_size_ends_the_program");
    assert_eq!(signal, Some(6), "{said}");
    assert!(said.contains("with another size than allocated"), "{said}");
}

#[test]
fn a_realloc_with_another_alignment_ends_the_program() {
    if is_child() {
        grow_as(std::alloc::Layout::from_size_align(10, 1).unwrap());
    }
    let (signal, said) = child("a_realloc_with_another_alignment_ends_the_program");
    assert_eq!(signal, Some(6), "{said}");
    assert!(said.contains("with another alignment than allocated"), "{said}");
}

#[test]
fn a_fault_that_is_caught_is_not_told() {
    if is_child() {
        let bytes = vec![1u8; 10].into_boxed_slice();
        // SAFETY: nothing lies there.
        assert!(unsafe { vmarena::try_read(bytes.as_ptr().add(10)) }.is_err());
        return;
    }
    let (signal, said) = child("a_fault_that_is_caught_is_not_told");
    assert!(signal.is_none() && !said.contains("vmarena:"), "{said}");
}

#[test]
fn a_reported_fault_is_told_once_with_all_stacks() {
    if is_child() {
        vmarena::report_faults().unwrap();
        let bytes = vec![1u8; 10];
        let end = bytes.as_ptr().wrapping_add(3);
        drop(bytes);
        // SAFETY: there is none: that is the error.
        unsafe { end.read_volatile() };
    }
    let (signal, said) = child("a_reported_fault_is_told_once_with_all_stacks");
    assert_eq!(signal, Some(11), "{said}");
    assert_eq!(said.matches("vmarena: use after free: read inside a 10-byte object at 0x").count(), 1, "{said}");
    assert_eq!(said.matches("\n  the access:\n    ").count(), 1, "{said}");
    let (_, stacks) = said.split_once("  the access:\n").expect(&said);
    assert_eq!(stacks.matches("  allocated by thread ").count(), 1, "{said}");
    assert_eq!(stacks.matches("  freed by thread ").count(), 1, "{said}");
}
