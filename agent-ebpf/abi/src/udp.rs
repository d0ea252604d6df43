//! UDP: what each process sent and received, and what its sockets dropped.

mod peers;

use core::mem::size_of;

use crate::record::{Header, Record};

pub use peers::{PeerBytes, PeerKey};

/// Kinds 0x60–0x6f belong to this family. A process used UDP for the first time.
pub const KIND_OWNER: u16 = 0x60;
/// A row of the iterator: a UDP socket that some process holds open now.
pub const KIND_SOCKET: u16 = 0x61;
/// A UDP socket that had dropped something was closed; `drops` is final.
pub const KIND_CLOSED: u16 = 0x62;

/// Why a datagram did not go where it should; the index into [`Totals::errors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Failure {
    /// The send buffer or a device's queue was full: EAGAIN, ENOBUFS.
    BufferFull,
    /// The other side answered that nobody listens there: ECONNREFUSED.
    Refused,
    /// No way to the destination: ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL.
    Unreachable,
    /// The datagram is larger than the path or UDP allows: EMSGSIZE.
    TooLarge,
    /// A packet filter or a security module forbade it: EPERM, EACCES.
    NotPermitted,
    /// Anything else.
    Other,
}

impl Failure {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::BufferFull, Self::Refused, Self::Unreachable, Self::TooLarge, Self::NotPermitted, Self::Other];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BufferFull => "send_buffer_full",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too_large",
            Self::NotPermitted => "not_permitted",
            Self::Other => "other",
        }
    }

    /// The failure that a call's positive errno stands for (asm-generic/errno.h; the same on every architecture that
    /// programs can be loaded on, but for MIPS, SPARC and PA-RISC, where what is not known here is [`Self::Other`]).
    pub const fn of_errno(errno: i32) -> Self {
        match errno {
            11 | 105 => Self::BufferFull,
            111 => Self::Refused,
            99..=101 | 112 | 113 => Self::Unreachable,
            90 => Self::TooLarge,
            1 | 13 => Self::NotPermitted,
            _ => Self::Other,
        }
    }

    /// Whether a receiving call that failed so tells of the network: it reports what an earlier datagram met.
    /// Interrupted and empty-handed calls do not.
    pub const fn is_of_network(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable | Self::TooLarge)
    }
}

/// Whose datagrams: key of the map `UDP_BY_OWNER`. All zero but the cgroup where only packets are seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerKey {
    /// Cgroup id on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Start of the thread group, nanoseconds since boot; tells reuses of a number apart.
    pub started_ns: u64,
    /// Thread group.
    pub tgid: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<OwnerKey>() == 24);

/// What an owner sent and received: value of the map `UDP_BY_OWNER`. Counters only grow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Cgroup id on the v1 memory hierarchy; 0 when unknown.
    pub cgroup_v1: u64,
    /// Thread group leader's name, NUL-padded.
    pub comm: [u8; 16],
    /// Payload bytes that the kernel took over from the owner.
    pub sent_bytes: u64,
    /// Payload bytes that the owner took over from the kernel.
    pub received_bytes: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Failures, by [`Failure`].
    pub errors: [u64; Failure::ALL.len()],
}

const _: () = assert!(size_of::<Totals>() == 104);

/// A new owner, a socket, or a socket's end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpRecord {
    /// Kind and size.
    pub header: Header,
    /// Inode number of the socket, unique among those that are open; 0 for an owner.
    pub inode: u64,
    /// As in [`OwnerKey`]; 0 for a socket.
    pub started_ns: u64,
    /// Datagrams that arrived and were dropped by the socket (`sk_drops`); 0 for an owner.
    pub drops: u64,
    /// Cgroup id on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Cgroup id on the v1 memory hierarchy; 0 when unknown.
    pub cgroup_v1: u64,
    /// Thread group leader's name, NUL-padded.
    pub comm: [u8; 16],
    /// Thread group.
    pub tgid: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<UdpRecord>() == 72);

// SAFETY: repr(C), header first, the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Record for UdpRecord {
    fn has_kind(kind: u16) -> bool {
        (KIND_OWNER..=KIND_CLOSED).contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_place_and_its_own_name() {
        for (index, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, index);
            assert_eq!(Failure::ALL.iter().filter(|other| other.as_str() == failure.as_str()).count(), 1);
        }
    }

    #[test]
    fn errnos_are_sorted() {
        let cases = [(11, Failure::BufferFull), (111, Failure::Refused), (113, Failure::Unreachable)];
        for (errno, failure) in cases.into_iter().chain([(90, Failure::TooLarge), (22, Failure::Other)]) {
            assert_eq!(Failure::of_errno(errno), failure);
        }
        assert!(!Failure::of_errno(11).is_of_network(), "nothing to receive is no failure");
    }
}
