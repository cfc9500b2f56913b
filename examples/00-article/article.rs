// SPDX-License-Identifier: MIT
//! Without the library: map a page, write, make it read-only, write again, and die by SIGSEGV.
use std::io::Error;
use std::ptr;

fn main() {
    // SAFETY: the calls are given what they ask for; the last write is meant to fault, and ends the program.
    unsafe {
        let size = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        println!("a page is {size} bytes");

        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        let page = libc::mmap(ptr::null_mut(), size, prot, flags, -1, 0);
        assert!(page != libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
        println!("mapped one page at {page:p}, readable and writable");

        let byte = page.cast::<u8>();
        byte.write_volatile(42);
        println!("wrote 42, read {}", byte.read_volatile());

        assert!(
            libc::mprotect(page, size, libc::PROT_READ) == 0,
            "mprotect: {}",
            Error::last_os_error()
        );
        println!("protected the page: it is read-only now");
        println!("read {}: reading is still allowed", byte.read_volatile());

        println!("writing 43: the CPU faults, the kernel sends SIGSEGV, and the program ends here");
        byte.write_volatile(43);
        println!(
            "this line is never printed: the page holds {}",
            byte.read_volatile()
        );
    }
}
