// SPDX-License-Identifier: MIT
use std::ops::Range;
use std::os::raw::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use vmarena_sys as sys;

use crate::error::{check, made, Error, EINVAL};

/// How written pages are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tracking {
    /// As an option: the first of the others that works for this arena on this system.
    Auto,
    /// The kernel's copy on write, in an arena made with [`crate::Options::memfd`].
    File,
    /// Write protection that the kernel removes itself, read by `PAGEMAP_SCAN` (Linux 6.7).
    Scan,
    /// Write protection that the library's fault handler removes. A system call that is the first to write to a page
    /// fails with `EFAULT`.
    Protect,
    /// No tracking: all pages are compared with their copies.
    Compare,
}

impl Tracking {
    pub(crate) fn raw(self) -> sys::vmarena_tracking {
        match self {
            Tracking::Auto => sys::VMARENA_TRACK_AUTO,
            Tracking::File => sys::VMARENA_TRACK_FILE,
            Tracking::Scan => sys::VMARENA_TRACK_SCAN,
            Tracking::Protect => sys::VMARENA_TRACK_PROTECT,
            Tracking::Compare => sys::VMARENA_TRACK_COMPARE,
        }
    }
}

/// Identifies a snapshot, which the arena keeps: see [`crate::Arena::snapshot`].
#[derive(Debug)]
pub struct Snapshot {
    id: u64,
}

/// How a snapshot was taken, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The tracking obtained.
    pub tracking: Tracking,
    /// Bytes allocated in the arena when it was taken.
    pub used: usize,
    /// Bytes copied to take it.
    pub copied: usize,
    /// Bytes that the last restore copied back.
    pub restored: usize,
    /// Restores that succeeded.
    pub restores: u64,
}

/// An arena's snapshots. They have one owner together with it, so that no other thread can free one in between.
#[derive(Default)]
pub(crate) struct List(Vec<(u64, NonNull<sys::vmarena_snapshot>)>);

impl List {
    pub(crate) fn add(&mut self, raw: *mut sys::vmarena_snapshot) -> Snapshot {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let raw = made(raw);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.push((id, raw));
        Snapshot { id }
    }

    fn position(&self, snapshot: &Snapshot) -> Result<usize, Error> {
        let position = self.0.iter().position(|(id, _)| *id == snapshot.id);
        position.ok_or_else(|| Error::new(EINVAL, "the snapshot is not of this arena"))
    }

    pub(crate) fn find(&self, snapshot: &Snapshot) -> Result<*mut sys::vmarena_snapshot, Error> {
        self.position(snapshot).map(|position| self.0[position].1.as_ptr())
    }

    pub(crate) fn remove(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let (_, raw) = self.0.swap_remove(self.position(snapshot)?);
        // SAFETY: it is live, and this is its last use.
        unsafe { sys::vmarena_snapshot_free(raw.as_ptr()) };
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        for (_, raw) in self.0.drain(..) {
            // SAFETY: as above.
            unsafe { sys::vmarena_snapshot_free(raw.as_ptr()) };
        }
    }
}

unsafe extern "C" fn push(pages: *const sys::vmarena_pages, list: *mut c_void) -> c_int {
    // SAFETY: a record that stands during the call, and the list that dirty_pages passes.
    let (pages, list) = unsafe { (&*pages, &mut *list.cast::<Vec<Range<usize>>>()) };
    // Addresses of this process.
    #[allow(clippy::cast_possible_truncation)]
    list.push(pages.start as usize..pages.end as usize);
    0
}

pub(crate) fn dirty_pages(
    arena: *mut sys::vmarena,
    snapshot: *mut sys::vmarena_snapshot,
) -> Result<Vec<Range<usize>>, Error> {
    let mut list: Vec<Range<usize>> = Vec::new();
    // SAFETY: both are live; push gets its list.
    check(unsafe { sys::vmarena_dirty_pages(arena, snapshot, Some(push), ptr::addr_of_mut!(list).cast()) })?;
    Ok(list)
}

pub(crate) fn info(snapshot: *const sys::vmarena_snapshot) -> Result<SnapshotInfo, Error> {
    let mut raw =
        sys::vmarena_snapshot_info { tracking: 0, used: 0, copied: 0, restored: 0, restores: 0, spare: [0; 4] };
    // SAFETY: the snapshot is live, the call fills the record.
    check(unsafe { sys::vmarena_snapshot_info_get(snapshot, &raw mut raw) })?;
    let tracking = match raw.tracking {
        sys::VMARENA_TRACK_FILE => Tracking::File,
        sys::VMARENA_TRACK_SCAN => Tracking::Scan,
        sys::VMARENA_TRACK_PROTECT => Tracking::Protect,
        _ => Tracking::Compare,
    };
    let sys::vmarena_snapshot_info { used, copied, restored, restores, .. } = raw;
    Ok(SnapshotInfo { tracking, used, copied, restored, restores })
}
