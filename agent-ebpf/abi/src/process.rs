//! Processes: rows of the task iterator.

use core::mem::size_of;

use crate::record::{Header, Record};

/// A thread that is alive now.
pub const KIND_TASK: u16 = 0x20;

/// One thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Kind and size.
    pub header: Header,
    /// Cgroup id on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Cgroup id on the v1 memory hierarchy; 0 when unknown.
    pub cgroup_v1: u64,
    /// Start of the thread, nanoseconds since boot including suspend (`task_struct.start_boottime`).
    pub started_ns: u64,
    /// Time spent runnable and waiting for a CPU, nanoseconds (`sched_info.run_delay`); `u64::MAX` when not measured.
    pub run_delay_ns: u64,
    /// Thread group leader's name, NUL-padded.
    pub comm: [u8; 16],
    /// Thread group.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
}

const _: () = assert!(size_of::<TaskRecord>() == 64);

// SAFETY: repr(C), header first, the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Record for TaskRecord {
    fn has_kind(kind: u16) -> bool {
        kind == KIND_TASK
    }
}
