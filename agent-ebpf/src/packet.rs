//! Packets as `cgroup_skb` programs see them: they begin at the IP header, and belong to a socket.
//!
//! These programs run for every packet of every socket below the cgroup. [`watch`] makes them: what it makes cannot
//! return anything but 1, which lets the packet pass.

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_sk_fullsock, programs::SkBuffContext};

use crate::{
    mem::{Probed, Read, pointer},
    offsets::{NET_INUM, SOCK_NET},
};

/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;

/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Bytes of an IPv4 header without options.
const V4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extensions.
const V6_HEADER: usize = 40;

/// Declares a program that only watches: whatever its handler does, the packet passes or the call goes on.
macro_rules! watch {
    ($(#[$doc:meta])* $attribute:ident($($hook:ident)?) $context:ty, $name:ident => $handler:path) => {
        $(#[$doc])*
        #[aya_ebpf::macros::$attribute($($hook)?)]
        pub fn $name(ctx: $context) -> i32 {
            let () = $handler(&ctx);
            1
        }
    };
}
pub(crate) use watch;

/// The network namespace of the packet's socket; 0 when unknown.
#[inline(always)]
pub fn netns(ctx: &SkBuffContext) -> u32 {
    // SAFETY: a field of the context. The verifier allows no arithmetic with a socket that it knows, so the address is
    // read back from the stack as a number; what is behind it is read by a helper that checks.
    unsafe {
        let sk = (*ctx.skb.skb).__bindgen_anon_2.sk;
        if sk.is_null() || !SOCK_NET.exists() || !NET_INUM.exists() {
            return 0;
        }
        let sk = Probed::at::<usize>((&raw const sk).cast(), 0) as *const u8;
        Probed::field(pointer(sk, &SOCK_NET), &NET_INUM)
    }
}

/// Whether the packet's socket is a UDP one; a raw socket may hear the same datagram.
#[inline(always)]
pub fn is_of_udp_socket(ctx: &SkBuffContext) -> bool {
    const SOCK_DGRAM: u32 = 2;
    // SAFETY: a field of the context, and a helper that takes it; both are null unless there is a whole socket.
    unsafe {
        let sk = (*ctx.skb.skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return false;
        }
        let sk = bpf_sk_fullsock(sk);
        !sk.is_null() && (*sk).protocol == u32::from(UDP) && (*sk).type_ == SOCK_DGRAM
    }
}

/// The packet's source and destination, IPv4 mapped to IPv6.
#[inline(always)]
pub fn addresses(ctx: &SkBuffContext) -> Option<[[u8; 16]; 2]> {
    if version(ctx)? == 4 {
        let [a, b, c, d, e, f, g, h] = ctx.load::<[u8; 8]>(12).ok()?;
        let mapped = |[a, b, c, d]: [u8; 4]| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
        Some([mapped([a, b, c, d]), mapped([e, f, g, h])])
    } else {
        ctx.load::<[[u8; 16]; 2]>(8).ok()
    }
}

/// Whether an arriving packet is for this host alone, neither broadcast nor multicast.
#[inline(always)]
pub fn is_unicast(ctx: &SkBuffContext) -> bool {
    /// include/uapi/linux/if_packet.h.
    const PACKET_HOST: u32 = 0;
    // SAFETY: a field of the context.
    unsafe { (*ctx.skb.skb).pkt_type == PACKET_HOST }
}

/// The protocol above IP, of packets whose IP header can be read directly. Of IPv6 the first header's.
#[inline(always)]
pub fn protocol(ctx: &SkBuffContext) -> Option<u8> {
    let at = match version(ctx)? {
        4 => 9,
        _ => 6,
    };
    byte::<V4_HEADER>(ctx, at)
}

/// Where the header of a UDP packet begins, whatever stands between it and the IP header. TCP is told apart after two
/// reads.
#[inline(always)]
pub fn udp_header(ctx: &SkBuffContext) -> Option<usize> {
    match (version(ctx)?, protocol(ctx)?) {
        (_, TCP) => None,
        (4, UDP) => v4_header(ctx),
        (6, first) => v6_header(ctx, first),
        _ => None,
    }
}

/// Where the header of a TCP packet begins. Of IPv6 packets with extension headers, which TCP does not use, `None`.
#[inline(always)]
pub fn tcp_header(ctx: &SkBuffContext) -> Option<usize> {
    if version(ctx)? == 4 { v4_header(ctx) } else { Some(V6_HEADER) }
}

/// Bytes of the whole packet from the IP header on; of one that segmentation offload joined, of all its segments.
#[inline(always)]
pub fn len(ctx: &SkBuffContext) -> usize {
    ctx.len() as usize
}

/// Two bytes in network order.
#[inline(always)]
pub fn be16(ctx: &SkBuffContext, at: usize) -> Option<u16> {
    ctx.load::<u16>(at).ok().map(u16::from_be)
}

/// The remote port of a connected socket, host order; 0 of others.
#[inline(always)]
pub fn remote_port(ctx: &SkBuffContext) -> u16 {
    // SAFETY: a field of the context. It holds the port in network order in its upper half on little-endian machines
    // (`sock_ops`' cousin in net/core/filter.c shifts it there).
    let port = unsafe { (*ctx.skb.skb).remote_port };
    u16::from_be((port >> 16) as u16)
}

#[inline(always)]
fn version(ctx: &SkBuffContext) -> Option<u8> {
    byte::<V4_HEADER>(ctx, 0).map(|first| first >> 4)
}

#[inline(always)]
fn v4_header(ctx: &SkBuffContext) -> Option<usize> {
    byte::<V4_HEADER>(ctx, 0).map(|first| usize::from(first & 0xf) * 4)
}

/// Passes by at most four extension headers: hop-by-hop, routing, destination options, and the fragment header, which
/// only outgoing packets may still have.
#[inline(always)]
fn v6_header(ctx: &SkBuffContext, mut next: u8) -> Option<usize> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let mut at = V6_HEADER;
    for _ in 0..4 {
        if next == UDP {
            return Some(at);
        }
        let header: [u8; 2] = ctx.load(at).ok()?;
        at += match next {
            FRAGMENT => 8,
            HOP_BY_HOP | ROUTING | DESTINATION => usize::from(header[1]) * 8 + 8,
            _ => return None,
        };
        next = header[0];
    }
    (next == UDP).then_some(at)
}

/// A byte of the first `N`, read without a helper.
#[inline(always)]
fn byte<const N: usize>(ctx: &SkBuffContext, at: usize) -> Option<u8> {
    let skb = ctx.as_ptr().cast::<aya_ebpf::bindings::__sk_buff>();
    // SAFETY: `data` and `data_end` bound the packet's linear part, and the verifier checks that the read stays inside.
    unsafe {
        let (data, end) = ((*skb).data as usize, (*skb).data_end as usize);
        (data + N <= end).then(|| ((data + at) as *const u8).read_volatile())
    }
}
