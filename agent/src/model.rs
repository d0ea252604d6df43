//! Plain values that the units of the agent exchange. No clock, no file, no aya.

mod origin;
mod time;

pub use origin::{CgroupId, HostPid, NetnsId, Origin};
pub use time::{BootNanos, UnixMillis};
