//! Datagrams as packets: `udp_egress` and `udp_ingress` (`cgroup_skb` at the root of the unified hierarchy). The cgroup is
//! the socket's; the process stays unknown, for packets arrive in interrupts.
//!
//! One that the socket then has no room for is counted here as received.

use aya_ebpf::{helpers::generated::bpf_skb_cgroup_id, programs::SkBuffContext};
use sonde_abi::udp::{OwnerKey, Totals};

use super::{count_received, count_sent, insert};
use crate::{
    maps::UDP_BY_OWNER,
    owner::Owner,
    packet::{self, watch},
};

watch! {
    /// Every packet that leaves a socket.
    cgroup_skb(egress) SkBuffContext, udp_egress => egress
}

watch! {
    /// Every packet that arrives at a socket.
    cgroup_skb(ingress) SkBuffContext, udp_ingress => ingress
}

#[inline(always)]
fn egress(ctx: &SkBuffContext) {
    if let Some((totals, bytes)) = datagram(ctx) {
        count_sent(totals, bytes);
    }
}

#[inline(always)]
fn ingress(ctx: &SkBuffContext) {
    if let Some((totals, bytes)) = datagram(ctx) {
        count_received(totals, bytes);
    }
}

/// Payload bytes of a UDP packet, and where they are counted.
#[inline(always)]
fn datagram(ctx: &SkBuffContext) -> Option<(*mut Totals, u64)> {
    let at = packet::udp_header(ctx)?;
    // What segmentation offload joined is longer than the length in its header could say.
    let bytes = packet::len(ctx).checked_sub(at + packet::UDP_HEADER)?;
    // SAFETY: the helper only reads the socket of the packet it is given.
    let cgroup_v2 = unsafe { bpf_skb_cgroup_id(ctx.skb.skb) };
    let key = OwnerKey { cgroup_v2, started_ns: 0, tgid: 0, _pad: 0 };
    let totals = UDP_BY_OWNER.get_ptr_mut(key).or_else(|| insert(&key, &Owner::NONE))?;
    Some((totals, bytes as u64))
}
