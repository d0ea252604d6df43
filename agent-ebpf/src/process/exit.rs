//! `task_exit` (`tp_btf/sched_process_exit`): the final counters of every thread.
//!
//! Threads that the last pass may have listed are told one by one, because only user space knows what it has counted of
//! them. All others, which are as many as a machine forks, are added up here by owner.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::{
    codes::Loss,
    process::{FLAG_KERNEL, KIND_EXITED, OwnerKey, TaskRecord, UNMEASURED, pass},
};

use super::{describe, flags};
use crate::{
    loss,
    maps::{EVENTS, EXITED_A, EXITED_B, entry_of, pass_mark, wakeup_flags},
    mem::{Probed, Read, add, pointer},
    offsets::*,
};

/// `trace_sched_process_exit(struct task_struct *p, …)`, include/trace/events/sched.h: in the context of the thread
/// that ends, while it still has its cgroups.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn task_exit(ctx: BtfTracePointContext) -> i32 {
    let mark = pass_mark();
    if mark != 0 {
        // SAFETY: the first argument is a `struct task_struct`.
        unsafe { ended(ctx.arg(0), mark) };
    }
    0
}

#[inline(always)]
unsafe fn ended(task: *const u8, mark: u64) {
    // SAFETY: `task` is a `struct task_struct`.
    unsafe {
        let record = describe(KIND_EXITED, task, flags(task) & FLAG_KERNEL);
        if pass::may_have_listed(mark, record.started_ns) {
            tell(&record);
        } else {
            let leader_started = Probed::field(pointer(task, &TASK_LEADER), &TASK_START);
            add_up(&record, pass::may_have_listed(mark, leader_started), mark);
        }
    }
}

#[inline(always)]
fn tell(record: &TaskRecord) {
    if EVENTS.output_untyped::<TaskRecord>(record, wakeup_flags(&EVENTS)).is_err() {
        loss::count(Loss::TaskExitRingFull);
    }
}

#[inline(always)]
fn add_up(record: &TaskRecord, is_process_known: bool, mark: u64) {
    let key = OwnerKey {
        cgroup_v2: record.cgroup_v2,
        cgroup_v1: record.cgroup_v1,
        comm: record.comm,
        tgid: if is_process_known { record.tgid } else { 0 },
        flags: record.flags,
    };
    let Some(entry) = entry_of([&EXITED_A, &EXITED_B], mark, &key) else {
        return loss::count(Loss::TaskExitMapFull);
    };
    // SAFETY: a value of the map, which user space empties only after another one is written.
    unsafe {
        add(&raw mut (*entry).threads, 1);
        add(&raw mut (*entry).run_delay_ns, measured(record.run_delay_ns));
        add(&raw mut (*entry).disk_delay_ns, measured(record.disk_delay_ns));
    }
}

#[inline(always)]
fn measured(value: u64) -> u64 {
    if value == UNMEASURED { 0 } else { value }
}
