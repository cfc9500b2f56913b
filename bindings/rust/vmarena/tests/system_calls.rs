// SPDX-License-Identifier: MIT
//! What a program may call often makes no system call: it runs where only read, write and exit are allowed.
#![cfg(target_os = "linux")]
use vmarena::{Arena, CommitPolicy, Guarded, Options};

/// Runs `body` in a child that the kernel kills at its first other system call (`SECCOMP_MODE_STRICT`, prctl(2)).
fn runs_without_system_calls(body: impl FnOnce()) -> bool {
    // SAFETY: the child calls nothing that another thread may have locked, and ends without unwinding.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT);
            body();
            libc::syscall(libc::SYS_exit, 0);
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        status == 0
    }
}

/// An arena in which the next megabyte is ready.
fn arena() -> Arena {
    let arena = Options::new().commit(1 << 20).commit_policy(CommitPolicy::NoReserve).create().unwrap();
    arena.alloc(1u8);
    arena
}

#[test]
fn the_check_works() {
    assert!(runs_without_system_calls(|| ()));
    assert!(!runs_without_system_calls(|| {
        // SAFETY: no precondition.
        unsafe { libc::syscall(libc::SYS_getpid) };
    }));
}

#[test]
fn a_guarded_value() {
    let arena = arena();
    assert!(runs_without_system_calls(|| drop(Guarded::new(&arena, 1u32).unwrap())));
}

#[test]
fn the_start_and_the_figures_of_an_arena() {
    let arena = Options::new().commit(1 << 20).commit_policy(CommitPolicy::NoReserve).create().unwrap();
    let first: *const u8 = arena.alloc(1u8);
    assert!(runs_without_system_calls(|| assert_eq!(arena.start(), first)));
    assert!(runs_without_system_calls(|| assert_eq!(arena.stats().used, 1)));
}
