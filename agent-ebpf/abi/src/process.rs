//! Processes: rows of the task iterator, threads that end, and victims of the OOM killer.

use core::mem::size_of;

use crate::record::{Header, Plain, Record};

/// A thread that is alive now.
pub const KIND_TASK: u16 = 0x20;
/// A thread that a pass may have listed has ended.
pub const KIND_EXITED: u16 = 0x21;
/// The OOM killer has chosen a process.
pub const KIND_OOM_VICTIM: u16 = 0x22;

/// `flags`: it is a thread of the kernel (`PF_KTHREAD`).
pub const FLAG_KERNEL: u32 = 1;
/// `flags`: it has begun to end (`PF_EXITING`); [`KIND_EXITED`] or [`Exited`] will tell its final counters.
pub const FLAG_EXITING: u32 = 2;

/// A counter that is not measured.
pub const UNMEASURED: u64 = u64::MAX;

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
    /// Time spent runnable and waiting for a CPU, nanoseconds (`sched_info.run_delay`); or [`UNMEASURED`].
    pub run_delay_ns: u64,
    /// Time spent waiting for block devices, nanoseconds (`task_delay_info.blkio_delay`); or [`UNMEASURED`].
    pub disk_delay_ns: u64,
    /// Thread group leader's name, NUL-padded.
    pub comm: [u8; 16],
    /// Thread group.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// `FLAG_*`.
    pub flags: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<TaskRecord>() == 80);

// SAFETY: repr(C), header first, the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Record for TaskRecord {
    fn has_kind(kind: u16) -> bool {
        matches!(kind, KIND_TASK | KIND_EXITED | KIND_OOM_VICTIM)
    }
}

/// Whose something is that the kernel half adds up: a key of `EXITED_A` and `EXITED_B`, where those threads are that
/// ended without a pass having listed them, and a part of other keys.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerKey {
    /// Cgroup id on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Cgroup id on the v1 memory hierarchy; 0 when unknown.
    pub cgroup_v1: u64,
    /// Thread group leader's name, NUL-padded.
    pub comm: [u8; 16],
    /// Thread group; 0 when it is younger than the last pass, so that short-lived processes of a name share an entry.
    pub tgid: u32,
    /// `FLAG_KERNEL` or 0.
    pub flags: u32,
}

const _: () = assert!(size_of::<OwnerKey>() == 40);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Plain for OwnerKey {}

/// What they had waited in all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exited {
    /// Threads.
    pub threads: u64,
    /// Nanoseconds waited for a CPU.
    pub run_delay_ns: u64,
    /// Nanoseconds waited for block devices.
    pub disk_delay_ns: u64,
}

const _: () = assert!(size_of::<Exited>() == 24);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers.
unsafe impl Plain for Exited {}

/// The mark of the pass that user space began last, the value of `PASS`: its begin in nanoseconds since boot including
/// suspend, with the lowest bit telling which of the two maps is written. 0 before the first pass.
pub mod pass {
    /// The mark of a pass that begins now.
    pub const fn mark(now_ns: u64, second_map: bool) -> u64 {
        now_ns & !1 | second_map as u64
    }

    /// Whether a thread that started then can have been listed by a pass.
    pub const fn may_have_listed(mark: u64, started_ns: u64) -> bool {
        started_ns < mark & !1
    }

    /// Whether the second map is written.
    pub const fn is_second(mark: u64) -> bool {
        mark & 1 == 1
    }
}
