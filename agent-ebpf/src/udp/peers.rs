//! Datagrams of the whole node by the addresses at both ends: `udp_peers_egress` and `udp_peers_ingress` (`cgroup_skb` at
//! the root of the unified hierarchy). Whose socket it is does not matter, so that nobody's traffic is left out.
//!
//! The agent takes the sums often; what finds no room until then is still added up, without its ends.

use aya_ebpf::programs::SkBuffContext;
use sonde_abi::udp::{PeerBytes, PeerKey};

use crate::{
    maps::{UDP_PEERS_A, UDP_PEERS_B, UDP_PEERS_REST, UDP_PEERS_TURN, entry_of, mark_in},
    mem::add,
    packet::{self, watch},
};

watch! {
    /// Every packet that leaves a socket.
    cgroup_skb(egress) SkBuffContext, udp_peers_egress => egress
}

watch! {
    /// Every packet that arrives at a socket.
    cgroup_skb(ingress) SkBuffContext, udp_peers_ingress => ingress
}

#[inline(always)]
fn egress(ctx: &SkBuffContext) {
    let Some((bytes, [source, destination])) = datagram(ctx) else { return };
    if let Some(sums) = sums(&PeerKey { local: source, remote: destination }) {
        // SAFETY: a value of a map, alive until the program ends.
        unsafe { add(&raw mut (*sums).sent, bytes) };
    }
}

#[inline(always)]
fn ingress(ctx: &SkBuffContext) {
    let Some((bytes, [source, destination])) = datagram(ctx) else { return };
    let local = if packet::is_unicast(ctx) { destination } else { [0; 16] };
    if let Some(sums) = sums(&PeerKey { local, remote: source }) {
        // SAFETY: as in `egress`.
        unsafe { add(&raw mut (*sums).received, bytes) };
    }
}

/// Payload bytes of a UDP socket's packet, and its source and destination.
#[inline(always)]
fn datagram(ctx: &SkBuffContext) -> Option<(u64, [[u8; 16]; 2])> {
    // First, because it sends TCP away.
    let at = packet::udp_header(ctx)?;
    if !packet::is_of_udp_socket(ctx) {
        return None;
    }
    // What segmentation offload joined is longer than the length in its header could say.
    let bytes = packet::len(ctx).checked_sub(at + packet::UDP_HEADER)?;
    Some((bytes as u64, packet::addresses(ctx)?))
}

/// Where the bytes between two ends are added up.
#[inline(always)]
fn sums(key: &PeerKey) -> Option<*mut PeerBytes> {
    let rest = UDP_PEERS_REST.get_ptr_mut(0)?;
    let Some(sums) = entry_of([&UDP_PEERS_A, &UDP_PEERS_B], mark_in(&UDP_PEERS_TURN), key) else {
        return Some(rest);
    };
    // SAFETY: values of maps, alive until the program ends.
    unsafe {
        if (&raw const (*sums).firsts).read_volatile() == 0 {
            add(&raw mut (*sums).firsts, 1);
            add(&raw mut (*rest).firsts, 1);
        }
    }
    Some(sums)
}
