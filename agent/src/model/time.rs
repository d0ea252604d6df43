//! The clocks of the agent, kept apart by type.

/// Nanoseconds since boot on `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootNanos(pub u64);

impl BootNanos {
    /// Nanoseconds from `earlier` to this moment; 0 when it is the later one.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many nanoseconds later.
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// So many nanoseconds earlier, at most when the machine booted.
    pub const fn before(self, nanos: u64) -> Self {
        Self(self.0.saturating_sub(nanos))
    }
}

/// Milliseconds since the Unix epoch, the timestamp of Prometheus' exchange formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

/// Nanoseconds since boot with the time of suspension on `CLOCK_BOOTTIME`, the clock of processes' starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UptimeNanos(pub u64);

impl UptimeNanos {
    /// The same moment on the other clock, where the machine was suspended for so many nanoseconds in all; of a moment
    /// before the last suspension as long ago as it is, not when that clock showed it.
    pub fn without_suspension(self, suspended: u64) -> BootNanos {
        BootNanos(self.0.saturating_sub(suspended))
    }
}
