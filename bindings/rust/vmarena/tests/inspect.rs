// SPDX-License-Identifier: MIT
//! What the system tells of this process.
use vmarena::inspect::{self, Counter, Counters, OwnerKind, PageState};
use vmarena::{page_size, Fenced, Huge, Options, Side};

#[test]
fn an_arena_in_the_memory_map() {
    let arena = Options::new().reserve(1 << 20).huge(Huge::Never).name("mapped").create().unwrap();
    let bytes = arena.alloc_slice_copy(&vec![1u8; 3 * page_size()]);
    let address = bytes.as_ptr() as u64;
    let one = inspect::mapping_at(None, address).unwrap();
    let all = inspect::maps(None).unwrap();
    let same = all.iter().find(|m| m.range.contains(&address)).unwrap();
    assert_eq!((&one.range, one.shared), (&same.range, same.shared));
    assert_eq!((one.readable, one.writable, one.executable), (true, true, false));
    let owner = one.owner.unwrap();
    assert_eq!((owner.kind, owner.name.as_str()), (OwnerKind::Arena, "mapped"));
    assert!(owner.range.contains(&address));
    assert!(all.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
    assert_eq!(inspect::mapping_at(None, 4096).unwrap_err().errno(), 2);
    assert_eq!(inspect::maps(Some(u32::MAX)).unwrap_err().errno(), 3);
}

#[test]
fn pages_that_were_touched_are_resident() {
    let arena = Options::new().reserve(1 << 20).huge(Huge::Never).create().unwrap();
    let page = page_size() as u64;
    let layout = std::alloc::Layout::from_size_align(4 * page_size(), page_size()).unwrap();
    let start = arena.try_alloc_layout(layout).unwrap().as_ptr();
    // SAFETY: the second page is ours.
    unsafe { start.add(page_size()).write(1) };
    let (runs, known) = inspect::residency(None, start as u64, 4 * page, PageState::RESIDENT).unwrap();
    assert!(known.contains(PageState::RESIDENT));
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].range, start as u64 + page..start as u64 + 2 * page);
    assert_eq!(runs[0].state, PageState::RESIDENT);
    match inspect::frame(start) {
        Ok(frame) => assert_eq!(frame, 0),
        Err(error) => assert_eq!(error.errno(), 1, "{error}"),
    }
}

#[test]
fn guards_are_told_where_the_system_does() {
    let input = Fenced::copy_of(&[1u8; 10], Side::End).unwrap();
    let guard = input.as_ptr() as u64 / page_size() as u64 * page_size() as u64 + page_size() as u64;
    let (runs, known) = inspect::residency(None, guard, 1, PageState::GUARD).unwrap();
    // The guard at the arena's edge is PROT_NONE, which no state stands for.
    assert!(runs.iter().all(|run| run.state == PageState::GUARD && known.contains(PageState::GUARD)));
}

#[test]
fn totals_faults_and_counters() {
    assert!(inspect::totals(None).unwrap().rss > 0);
    let arena = Options::new().reserve(1 << 20).huge(Huge::Never).create().unwrap();
    let counters = Counters::open(None, false);
    let before = inspect::thread_fault_counts().unwrap();
    for byte in 0..100u8 {
        arena.alloc_with(|| [byte; 4096]);
    }
    let after = inspect::thread_fault_counts().unwrap();
    assert!(after.minor >= before.minor + 100, "{before:?} {after:?}");
    assert!(inspect::fault_counts(None).unwrap().minor >= after.minor);
    assert!(inspect::fault_counts(Some(std::process::id())).unwrap().minor >= after.minor);
    match counters {
        Ok(counters) => {
            let counts = counters.read().unwrap();
            assert!(counts.get(Counter::PageFaults).unwrap() >= 100);
            assert_eq!(Counter::PageFaults.name(), "page faults");
            // Absent in most guests: then the reason is there.
            if let Err(error) = counts.get(Counter::DtlbLoadMisses) {
                assert_ne!(error.raw_os_error(), Some(0));
            }
        }
        Err(error) => assert_eq!(error.errno(), 13, "{error}"),
    }
}
