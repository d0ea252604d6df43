//! Processes.
//!
//! * `task_iter` (`iter/task`): every thread with its cgroups and what it waited for.
//! * `task_exit` ([`exit`]): the same of threads that end, so that nothing they waited after the last pass is lost.
//! * `oom_victim` ([`oom`]): processes that the OOM killer chooses.

use aya_ebpf::cty::c_void;
use sonde_abi::{
    Header,
    process::{FLAG_EXITING, FLAG_KERNEL, KIND_TASK, TaskRecord, UNMEASURED},
};

use crate::{
    mem::{Probed, Read, pointer},
    offsets::*,
    owner::Owner,
    seq,
};

mod exit;
mod oom;

/// `struct bpf_iter__task` of kernel/bpf/task_iter.c.
#[repr(C)]
struct TaskContext {
    meta: *const u8,
    task: *const u8,
}

/// One thread.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn task_iter(ctx: *mut c_void) -> i32 {
    // SAFETY: the kernel calls this program with that context; task is null at the end of a walk.
    unsafe {
        let ctx = ctx.cast::<TaskContext>();
        let (meta, task) = ((*ctx).meta, (*ctx).task);
        if task.is_null() {
            return 0;
        }
        // First of all: what is read of a thread that has not begun to end was true before its end is told.
        let flags = flags(task);
        seq::write(meta, &describe(KIND_TASK, task, flags));
    }
    0
}

/// A thread with its counters.
///
/// # Safety
///
/// `task` is a `struct task_struct`.
#[inline(always)]
unsafe fn describe(kind: u16, task: *const u8, flags: u32) -> TaskRecord {
    // SAFETY: the caller vouches for the pointer, the table for the offsets.
    unsafe {
        let owner = Owner::of(task);
        TaskRecord {
            header: Header::of::<TaskRecord>(kind),
            cgroup_v2: owner.cgroup_v2,
            cgroup_v1: owner.cgroup_v1,
            started_ns: Probed::field(task, &TASK_START),
            run_delay_ns: optional(task, &TASK_RUN_DELAY),
            disk_delay_ns: disk_delay(task),
            comm: owner.comm,
            tgid: owner.tgid,
            tid: Probed::field(task, &TASK_PID),
            flags,
            _pad: 0,
        }
    }
}

/// `FLAG_*` of a thread.
///
/// # Safety
///
/// `task` is a `struct task_struct`.
#[inline(always)]
pub unsafe fn flags(task: *const u8) -> u32 {
    // include/linux/sched.h
    const PF_EXITING: u32 = 0x4;
    const PF_KTHREAD: u32 = 0x20_0000;
    // SAFETY: `task` is a `struct task_struct`.
    let flags: u32 = unsafe { Probed::field(task, &TASK_FLAGS) };
    // Without branches: the bits are moved to where the record has them.
    ((flags & PF_KTHREAD) / (PF_KTHREAD / FLAG_KERNEL)) | ((flags & PF_EXITING) / (PF_EXITING / FLAG_EXITING))
}

/// A field that some kernels are built without; "not measured" is never zero.
#[inline(always)]
unsafe fn optional(task: *const u8, field: &Offset) -> u64 {
    // SAFETY: `task` is a `struct task_struct`.
    if field.exists() { unsafe { Probed::field(task, field) } } else { UNMEASURED }
}

/// Only a thread that was made while delay accounting was on has the structure (`delayacct_tsk_init`).
#[inline(always)]
unsafe fn disk_delay(task: *const u8) -> u64 {
    if !TASK_DELAYS.exists() || !DELAYS_BLKIO.exists() {
        return UNMEASURED;
    }
    // SAFETY: `task` is a `struct task_struct`; the member is null or a `struct task_delay_info`.
    unsafe {
        let delays = pointer(task, &TASK_DELAYS);
        if delays.is_null() { UNMEASURED } else { Probed::field(delays, &DELAYS_BLKIO) }
    }
}
