//! Datagrams of the whole node by the addresses at both ends.

use core::mem::size_of;

use crate::record::Plain;

/// Both ends: a key of `UDP_PEERS_A` and `UDP_PEERS_B`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// The socket's end as its packets tell it, network order; IPv4 mapped to IPv6 (RFC 4291 §2.5.5.2). All zero where
    /// packets do not go to one host alone.
    pub local: [u8; 16],
    /// The other end.
    pub remote: [u8; 16],
}

const _: () = assert!(size_of::<PeerKey>() == 32);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, arrays of integers.
unsafe impl Plain for PeerKey {}

/// How much since the map was taken empty; in `UDP_PEERS_REST`, since the programs were loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerBytes {
    /// Payload bytes of packets that left sockets.
    pub sent: u64,
    /// Payload bytes of packets that arrived at sockets.
    pub received: u64,
    /// Packets that found nothing counted between these ends; in `UDP_PEERS_REST` of all ends: some more than there
    /// were entries.
    pub firsts: u64,
}

const _: () = assert!(size_of::<PeerBytes>() == 24);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers.
unsafe impl Plain for PeerBytes {}
