//! Plain values that the units of the agent exchange. No clock, no file, no aya.

mod origin;
mod task;
mod tcp;
mod time;

pub use origin::{CgroupId, HostPid, NetnsId, Origin, WorkloadIx};
pub use task::{ShortLived, Task, Thread, ThreadExit, Waited};
pub use tcp::{Counters, Role, SocketId, SocketKind, TcpSocket};
pub use time::{BootNanos, UnixMillis, UptimeNanos};
