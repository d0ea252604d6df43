//! `oom_victim` (`tp_btf/mark_victim`): a process that the OOM killer has chosen, a moment before its end.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::{
    Header,
    codes::Loss,
    process::{KIND_OOM_VICTIM, TaskRecord},
};

use super::describe;
use crate::{
    loss,
    maps::{EVENTS, wakeup_flags},
};

/// `trace_mark_victim(struct task_struct *task, uid_t uid)`, include/trace/events/oom.h.
#[btf_tracepoint(function = "mark_victim")]
pub fn oom_victim(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct task_struct`; the loader has asked the kernel's types.
    tell(&unsafe { describe(KIND_OOM_VICTIM, ctx.arg(0), 0) });
    0
}

/// `trace_mark_victim(int pid)`, as it was before Linux 6.8. It runs in whoever asked for memory, which need not be the
/// victim: user space finds out about the process, which has yet to end.
#[btf_tracepoint(function = "mark_victim")]
pub fn oom_victim_pid(ctx: BtfTracePointContext) -> i32 {
    let pid: u32 = ctx.arg(0);
    // SAFETY: zero bytes are a valid record.
    let mut record: TaskRecord = unsafe { core::mem::zeroed() };
    record.header = Header::of::<TaskRecord>(KIND_OOM_VICTIM);
    record.tid = pid;
    record.tgid = pid;
    tell(&record);
    0
}

#[inline(always)]
fn tell(record: &TaskRecord) {
    if EVENTS.output_untyped::<TaskRecord>(record, wakeup_flags()).is_err() {
        loss::count(Loss::OomRingFull);
    }
}
