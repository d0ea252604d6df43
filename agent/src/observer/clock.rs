//! The clocks, read here and nowhere below.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::model::{BootNanos, UnixMillis, UptimeNanos};

/// Now, on the kernel half's clock.
pub fn boot() -> BootNanos {
    BootNanos(nanos(ClockId::Monotonic))
}

/// Now, on the clock of processes' starts.
pub fn uptime() -> UptimeNanos {
    UptimeNanos(nanos(ClockId::Boottime))
}

/// How long the machine was suspended since its boot, nanoseconds, to within the time of two system calls.
pub fn suspended() -> u64 {
    nanos(ClockId::Boottime).saturating_sub(nanos(ClockId::Monotonic))
}

fn nanos(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Now, on the wall clock. A clock before 1970 counts as 1970.
pub fn unix() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
