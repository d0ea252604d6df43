//! `oom_victim` (`tp_btf/mark_victim`): a process that the OOM killer has chosen, a moment before its end; on kernels
//! whose hook tells a number only, `oom_victim_pid` and `oom_victim_end` together tell the same.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::{
    codes::Loss,
    process::{KIND_OOM_VICTIM, TaskRecord},
};

use super::describe;
use crate::{
    loss,
    maps::{EVENTS, VICTIMS, wakeup_flags},
    mem::{Probed, Read},
    offsets::TASK_PID,
};

/// `trace_mark_victim(struct task_struct *task, uid_t uid)`, include/trace/events/oom.h.
#[btf_tracepoint(function = "mark_victim")]
pub fn oom_victim(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct task_struct`; the loader has asked the kernel's types.
    tell(&unsafe { describe(KIND_OOM_VICTIM, ctx.arg(0), 0) });
    0
}

/// `trace_mark_victim(int pid)`, as it was before Linux 6.8. It runs in whoever asked for memory, which need not be the
/// victim: the thread is only remembered, and [`oom_victim_end`] tells whose it was.
#[btf_tracepoint(function = "mark_victim")]
pub fn oom_victim_pid(ctx: BtfTracePointContext) -> i32 {
    let tid: u32 = ctx.arg(0);
    if VICTIMS.insert(tid, 0, 0).is_err() {
        loss::count(Loss::OomMapFull);
    }
    0
}

/// `trace_sched_process_exit(struct task_struct *p, …)` for the threads that [`oom_victim_pid`] remembers: a victim ends
/// in its own context, while it still has its cgroups. A moment later nobody could say whose it was.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn oom_victim_end(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct task_struct`.
    unsafe {
        let task: *const u8 = ctx.arg(0);
        let tid: u32 = Probed::field(task, &TASK_PID);
        if VICTIMS.remove(tid).is_ok() {
            tell(&describe(KIND_OOM_VICTIM, task, 0));
        }
    }
    0
}

#[inline(always)]
fn tell(record: &TaskRecord) {
    if EVENTS.output_untyped::<TaskRecord>(record, wakeup_flags(&EVENTS)).is_err() {
        loss::count(Loss::OomRingFull);
    }
}
