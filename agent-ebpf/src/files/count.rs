//! How many files and sockets each process has open. Counted from one file to the next, with one row per process: a row
//! per file would cost more than the walk.

use aya_ebpf::{btf_maps::Array, helpers::bpf_ktime_get_ns, macros::btf_map};
use sonde_abi::{
    Header,
    files::{FilesRecord, FilesRun, KIND_FILES, ROWS_COUNT},
};

use super::FILE_ROWS;
use crate::{
    mem::{Probed, Read, bytes, pointer},
    offsets::*,
    owner::Owner,
    seq,
};

/// What is remembered from one file to the next. Written by the walk only, of which the agent runs one at a time.
#[btf_map]
static FILES_RUN: Array<FilesRun, 1> = Array::new();

/// `struct bpf_iter_meta` of include/linux/bpf.h.
#[repr(C)]
struct Meta {
    seq: u64,
    session_id: u64,
}

/// The walk so far.
pub struct Run(*mut FilesRun);

impl Run {
    /// What is remembered of the walk that `meta` is of.
    ///
    /// # Safety
    ///
    /// `meta` is the iterator context's `struct bpf_iter_meta`.
    #[inline(always)]
    pub unsafe fn of(meta: *const u8) -> Option<Self> {
        let run = FILES_RUN.get_ptr_mut(0)?;
        // SAFETY: as the caller says; the map's only element is always there, and nobody else writes it.
        unsafe {
            let session = (&raw const (*meta.cast::<Meta>()).session_id).read_volatile();
            if (*run).session != session {
                (*run).session = session;
                (*run).began_ns = bpf_ktime_get_ns();
                (*run).pass = (*run).pass % 255 + 1;
                (*run).current.files = 0;
                (*run).current.tgid = 0;
                (*run).done.files = 0;
            }
        }
        Some(Self(run))
    }

    /// The last walk, which may be over.
    #[inline(always)]
    pub fn last() -> Option<Self> {
        FILES_RUN.get_ptr_mut(0).map(Self)
    }

    /// The walk's number.
    #[inline(always)]
    pub fn pass(&self) -> u8 {
        // SAFETY: as in `of`.
        unsafe { (*self.0).pass as u8 }
    }

    /// When it began.
    #[inline(always)]
    pub fn began_ns(&self) -> u64 {
        // SAFETY: as in `of`.
        unsafe { (*self.0).began_ns }
    }

    /// Comes to a file of a process. A walk may be held up in the middle of a process, which begins another program or moves
    /// to another cgroup meanwhile: what it has opened since belongs there.
    ///
    /// # Safety
    ///
    /// `task` is a `struct task_struct` of kind `R` and of thread group `tgid`.
    #[inline(always)]
    pub unsafe fn enter<R: Read>(&self, task: *const u8, tgid: u32) {
        // SAFETY: as in `of`. Whoever was before has been flushed: its successor had a file by then.
        unsafe {
            let css_set = R::pointer(task, &TASK_CGROUPS) as u64;
            let comm = bytes(R::field(R::pointer(task, &TASK_LEADER), &TASK_COMM));
            if (*self.0).current.tgid != tgid {
                (*self.0).done = (*self.0).current;
                (*self.0).current = begin(task, tgid);
            } else if (*self.0).css_set != css_set || !is_same(comm, (*self.0).current.comm) {
                let FilesRecord { files, sockets, .. } = (*self.0).current;
                (*self.0).current = FilesRecord { files, sockets, ..begin(task, tgid) };
            }
            (*self.0).css_set = css_set;
        }
    }

    /// Writes the row of the process before, if it still has to be; whether there was room.
    ///
    /// # Safety
    ///
    /// As for [`of`](Self::of).
    #[inline(always)]
    pub unsafe fn flush(&self, meta: *const u8) -> bool {
        // SAFETY: as in `of`.
        unsafe {
            let is_due = FILE_ROWS.load() & ROWS_COUNT != 0 && (*self.0).done.files > 0;
            !is_due || seq::write(meta, &(*self.0).done)
        }
    }

    /// Counts a file of which all has been written.
    ///
    /// # Safety
    ///
    /// As for [`of`](Self::of).
    #[inline(always)]
    pub unsafe fn count(&self, is_socket: bool) {
        // SAFETY: as in `of`.
        unsafe {
            (*self.0).done.files = 0;
            (*self.0).current.files += 1;
            (*self.0).current.sockets += u32::from(is_socket);
        }
    }

    /// Ends the walk: the last process has its row.
    ///
    /// # Safety
    ///
    /// As for [`of`](Self::of).
    #[inline(always)]
    pub unsafe fn finish(&self, meta: *const u8) {
        // SAFETY: as in `of`. Without room the kernel ends the walk once more, with an empty buffer.
        unsafe {
            let is_due = FILE_ROWS.load() & ROWS_COUNT != 0 && (*self.0).current.files > 0;
            if !is_due || seq::write(meta, &(*self.0).current) {
                (*self.0).session = 0;
            }
        }
    }

    /// Whose the files are.
    #[inline(always)]
    pub fn owner(&self) -> Owner {
        // SAFETY: as in `of`; `enter` has filled it in.
        let row = unsafe { &(*self.0).current };
        Owner { cgroup_v2: row.cgroup_v2, cgroup_v1: row.cgroup_v1, comm: row.comm, tgid: row.tgid }
    }
}

/// Two numbers compare in two instructions; sixteen bytes would call `memcmp`.
#[inline(always)]
fn is_same(one: [u8; 16], other: [u8; 16]) -> bool {
    let difference = u128::from_ne_bytes(one) ^ u128::from_ne_bytes(other);
    (difference as u64) | ((difference >> 64) as u64) == 0
}

#[inline(always)]
unsafe fn begin(task: *const u8, tgid: u32) -> FilesRecord {
    // SAFETY: `task` is a `struct task_struct`.
    unsafe {
        let owner = Owner::of(task);
        FilesRecord {
            header: Header::of::<FilesRecord>(KIND_FILES),
            cgroup_v2: owner.cgroup_v2,
            cgroup_v1: owner.cgroup_v1,
            limit: limit(task),
            comm: owner.comm,
            files: 0,
            sockets: 0,
            tgid,
            _pad: 0,
        }
    }
}

/// The soft limit of open files: `rlim_cur` of `signal_struct.rlim[RLIMIT_NOFILE]`.
#[inline(always)]
unsafe fn limit(task: *const u8) -> u64 {
    /// include/uapi/asm-generic/resource.h
    const RLIMIT_NOFILE: usize = 7;
    const RLIMIT_BYTES: usize = 16;
    if !TASK_SIGNAL.exists() || !SIGNAL_RLIM.exists() {
        return 0;
    }
    // SAFETY: `task` is a `struct task_struct`; a failed read gives zero.
    unsafe { Probed::at(pointer(task, &TASK_SIGNAL), SIGNAL_RLIM.get() + RLIMIT_NOFILE * RLIMIT_BYTES) }
}
