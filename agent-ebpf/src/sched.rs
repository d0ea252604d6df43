//! The scheduler: `sched_latency` (`tp_btf/sched_switch`) tells how long a thread that gets a CPU had waited for it. Optional,
//! because it runs at every switch.
//!
//! Nothing is remembered between a thread's wake-up and its turn: the kernel itself notes when it was queued, and the
//! run queue's clock says what time that note means.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::{
    codes::Loss,
    latency::{RUN_QUEUE_FIRST, RunQueueKey},
};

use crate::{
    loss,
    maps::{RUN_QUEUE, observe},
    mem::{Read, Typed},
    offsets::*,
};

/// `trace_sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, …)`,
/// include/trace/events/sched.h.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_latency(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the third argument is a `struct task_struct` that the verifier knows by type, as what its members point to.
    unsafe { switched_to(ctx.arg(2)) };
    0
}

#[inline(always)]
unsafe fn switched_to(task: *const u8) {
    if !TASK_LAST_QUEUED.exists() || !TASK_CFS_RQ.exists() {
        return;
    }
    // SAFETY: the caller vouches for the pointer, the table for the offsets.
    unsafe {
        // 0 for the idle thread, and for what runs on without having waited.
        let queued: u64 = Typed::field(task, &TASK_LAST_QUEUED);
        if queued == 0 {
            return;
        }
        let run_queue = follow(follow(task, &TASK_CFS_RQ), &CFS_RQ_RQ);
        let now: u64 = Typed::field(run_queue, &RQ_CLOCK);
        let key = RunQueueKey { cgroup_v2: unified(task), cgroup_v1: memory(task) };
        // The clocks of two CPUs may be a moment apart.
        let waited = now.saturating_sub(queued);
        if !observe(&RUN_QUEUE, &key, waited, RUN_QUEUE_FIRST) {
            loss::count(Loss::RunQueueMapFull);
        }
    }
}

/// A member that points to another structure.
#[inline(always)]
unsafe fn follow(base: *const u8, field: &Offset) -> *const u8 {
    // SAFETY: as the caller says.
    unsafe { Typed::field::<usize>(base, field) as *const u8 }
}

#[inline(always)]
unsafe fn unified(task: *const u8) -> u64 {
    // SAFETY: `task` is a `struct task_struct`.
    unsafe {
        let cgroup = follow(follow(task, &TASK_CGROUPS), &CSS_SET_DFL);
        Typed::field(follow(cgroup, &CGROUP_KN), &KERNFS_ID)
    }
}

/// As `owner::memory_cgroup`, by types.
#[inline(always)]
unsafe fn memory(task: *const u8) -> u64 {
    if READ_CGROUP_V1.get() == 0 || !MEMORY_SUBSYS.exists() {
        return 0;
    }
    // SAFETY: `css_set.subsys` is an array of pointers indexed by `enum cgroup_subsys_id`.
    unsafe {
        let slot = CSS_SET_SUBSYS.get() + MEMORY_SUBSYS.get() * size_of::<usize>();
        let css = Typed::at::<usize>(follow(task, &TASK_CGROUPS), slot) as *const u8;
        Typed::field(follow(follow(css, &CSS_CGROUP), &CGROUP_KN), &KERNFS_ID)
    }
}
