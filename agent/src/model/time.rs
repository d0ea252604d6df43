//! The two clocks of the agent, kept apart by type.

/// Nanoseconds since boot on `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootNanos(pub u64);

/// Milliseconds since the Unix epoch, the timestamp of Prometheus' exchange formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);
