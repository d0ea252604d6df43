//! Processes: `task_iter` (`iter/task`) lists every thread with its cgroups and the time it waited for a CPU.

use aya_ebpf::cty::c_void;
use sonde_abi::{
    Header,
    process::{KIND_TASK, TaskRecord},
};

use crate::{
    mem::{Probed, Read},
    offsets::*,
    owner::Owner,
    seq,
};

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
        let owner = Owner::of(task);
        let row = TaskRecord {
            header: Header::of::<TaskRecord>(KIND_TASK),
            cgroup_v2: owner.cgroup_v2,
            cgroup_v1: owner.cgroup_v1,
            started_ns: optional(task, &TASK_START),
            run_delay_ns: optional(task, &TASK_RUN_DELAY),
            comm: owner.comm,
            tgid: owner.tgid,
            tid: Probed::field(task, &TASK_PID),
        };
        seq::write(meta, &row);
    }
    0
}

/// A field that some kernels are built without; "not measured" is never zero.
#[inline(always)]
unsafe fn optional(task: *const u8, field: &Offset) -> u64 {
    // SAFETY: `task` is a `struct task_struct`.
    if field.exists() { unsafe { Probed::field(task, field) } } else { u64::MAX }
}
