//! `files_iter` (`iter/task_file`): how many files and sockets each process has open. It counts from one file to the next
//! and writes one row per process: a row per file would cost more than the walk.

use aya_ebpf::{btf_maps::Array, cty::c_void, macros::btf_map};
use sonde_abi::{
    Header,
    files::{FilesRecord, FilesRun, KIND_FILES},
};

use super::{TaskFileContext, is_socket, shares_files_with_leader};
use crate::{
    mem::{Probed, Read, pointer},
    offsets::*,
    owner::Owner,
    seq,
};

/// The row being counted. Written by `files_iter` only, of which the agent runs one at a time.
#[btf_map]
static FILES_RUN: Array<FilesRun, 1> = Array::new();

/// `struct bpf_iter_meta` of include/linux/bpf.h.
#[repr(C)]
struct Meta {
    seq: u64,
    session_id: u64,
}

/// One open file of one task, or the end of the walk.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn files_iter(ctx: *mut c_void) -> i32 {
    // SAFETY: the kernel calls this program with that context; task and file are null at the end of a walk. The map's
    // only element is always there, and nobody else writes it.
    unsafe {
        let ctx = ctx.cast::<TaskFileContext>();
        let (meta, task, file) = ((*ctx).meta, (*ctx).task, (*ctx).file);
        let Some(run) = FILES_RUN.get_ptr_mut(0) else { return 0 };
        let session = (&raw const (*meta.cast::<Meta>()).session_id).read_volatile();
        let is_end = task.is_null() || file.is_null();
        if !is_end && shares_files_with_leader(task) {
            return 0;
        }
        let tgid = if is_end { 0 } else { Probed::field(task, &TASK_TGID) };
        let is_counting = (*run).session == session && (*run).row.files > 0;
        if is_counting && (is_end || (*run).row.tgid != tgid) && !seq::write(meta, &(*run).row) {
            // The kernel shows the same file again, in an empty buffer; nothing has been counted of it yet.
            return 0;
        }
        if is_end {
            (*run).session = 0;
            return 0;
        }
        if !is_counting || (*run).row.tgid != tgid {
            (*run).session = session;
            (*run).row = begin(task, tgid);
        }
        (*run).row.files += 1;
        (*run).row.sockets += u32::from(is_socket(file));
    }
    0
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
