//! Datagrams of a process, and sockets that dropped some.

use std::ops::{AddAssign, Sub};

pub use sonde_abi::udp::Failure as UdpFailure;

use super::Origin;

/// Identity of a sender or receiver: a process, or where packets alone are seen, a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramOwner {
    /// Cgroup on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Start of the process, nanoseconds since boot; tells reuses of its number apart.
    pub started_ns: u64,
    /// The process; 0 where it is not known.
    pub tgid: u32,
}

/// What was sent and received. Payload only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Failures, by [`UdpFailure`].
    pub errors: [u64; UdpFailure::ALL.len()],
}

impl AddAssign for Datagrams {
    fn add_assign(&mut self, other: Self) {
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.sent += other.sent;
        self.received += other.received;
        self.errors.iter_mut().zip(other.errors).for_each(|(error, more)| *error += more);
    }
}

impl Sub for Datagrams {
    type Output = Self;

    /// What is new since `before`; counters that went back count as zero.
    fn sub(self, before: Self) -> Self {
        let mut errors = self.errors;
        errors
            .iter_mut()
            .zip(before.errors)
            .for_each(|(error, before)| *error = error.saturating_sub(before));
        Self {
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
            received_bytes: self.received_bytes.saturating_sub(before.received_bytes),
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
            errors,
        }
    }
}

/// What happened to a socket, or what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpKind {
    /// A process used UDP for the first time.
    Owner(DatagramOwner),
    /// A socket is open.
    Open,
    /// A socket that had dropped something was closed.
    Closed,
}

/// A new owner, or a socket that counts what it dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpSocket {
    /// What happened.
    pub kind: UdpKind,
    /// Number of the socket's inode, unique among the open ones; 0 for an owner.
    pub inode: u64,
    /// Datagrams dropped so far.
    pub drops: u64,
    /// A process that holds it, or that closed it.
    pub origin: Origin,
}
