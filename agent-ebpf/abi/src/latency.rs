//! Histograms of times that the kernel half keeps: run queues by cgroup, requests by disk.

use core::mem::size_of;

use crate::record::Plain;

/// Bounds of a histogram.
pub const BOUNDS: usize = 18;

/// First bound of the waiting for a CPU: 2^12 ns, 4 µs; the last one is half a second.
pub const RUN_QUEUE_FIRST: u32 = 12;
/// First bound of requests to disks: 2^14 ns, 16 µs; the last one is two seconds.
pub const DISK_FIRST: u32 = 14;

/// What was observed, on one CPU or on all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Times up to 2^(first + index) nanoseconds each, those up to the bound before excluded; the last count is of what is
    /// above all bounds.
    pub counts: [u64; BOUNDS + 1],
    /// Sum of all times, nanoseconds.
    pub sum_ns: u64,
}

const _: () = assert!(size_of::<Latency>() == 160);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Plain for Latency {}

/// The count that a time belongs to.
#[inline(always)]
pub const fn bucket(ns: u64, first: u32) -> u32 {
    // A time is up to 2^n when the number below it has at most n bits.
    let bits = u64::BITS - ns.saturating_sub(1).leading_zeros();
    let index = bits.saturating_sub(first);
    if index > BOUNDS as u32 { BOUNDS as u32 } else { index }
}

/// Whose threads waited for a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunQueueKey {
    /// Cgroup id on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Cgroup id on the v1 memory hierarchy; 0 when unknown.
    pub cgroup_v1: u64,
}

const _: () = assert!(size_of::<RunQueueKey>() == 16);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers.
unsafe impl Plain for RunQueueKey {}

/// Requests of which disk and kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DiskLatencyKey {
    /// Driver of the disk (`gendisk.major`).
    pub major: u32,
    /// The disk itself (`gendisk.first_minor`).
    pub minor: u32,
    /// 1 for writes, 0 for reads.
    pub is_write: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<DiskLatencyKey>() == 16);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers.
unsafe impl Plain for DiskLatencyKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_belongs_to_the_first_bound_that_is_not_below_it() {
        for (ns, index) in
            [(0, 0), (1, 0), (1 << 12, 0), ((1 << 12) + 1, 1), (1 << 13, 1), ((1 << 13) + 1, 2)]
        {
            assert_eq!(bucket(ns, RUN_QUEUE_FIRST), index, "{ns}");
        }
        let last = 1 << (RUN_QUEUE_FIRST as usize + BOUNDS - 1);
        assert_eq!(bucket(last, RUN_QUEUE_FIRST), BOUNDS as u32 - 1);
        for ns in [last + 1, u64::MAX] {
            assert_eq!(bucket(ns, RUN_QUEUE_FIRST), BOUNDS as u32, "{ns}");
        }
    }
}
