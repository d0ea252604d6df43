//! Plain values that the units of the agent exchange. No clock, no file, no aya.

mod claim;
mod disk;
mod dns;
mod failure;
mod files;
mod histogram;
mod origin;
mod task;
mod tcp;
mod time;
mod udp;

pub use claim::Claim;
pub use disk::{DeviceId, DiskIo};
pub use dns::{Answer, Asker, NameId};
pub use failure::{End, Failure};
pub use files::OpenFiles;
pub use histogram::{Buckets, Histogram};
pub use origin::{CgroupId, HostPid, NetnsId, Origin, WorkloadIx};
pub use task::{Departed, ShortLived, Task, Thread, ThreadExit, Waited};
pub use tcp::{Backlog, Counters, Role, RoundTrip, SocketId, SocketKind, TcpSocket};
pub use time::{BootNanos, UnixMillis, UptimeNanos};
pub use udp::{DatagramOwner, Datagrams, UdpFailure, UdpKind, UdpSocket};
