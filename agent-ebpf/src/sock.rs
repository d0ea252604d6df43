//! Reading a `struct sock` and a `struct tcp_sock`.

use sonde_abi::tcp::{AF_INET, AF_INET6, FLAG_COUNTERS, FLAG_FIN_RECEIVED, TcpRecord};

use crate::{
    mem::{Read, pointer},
    offsets::*,
    owner::kernfs_id,
};

/// `IPPROTO_TCP`. `inet_sock_set_state` also fires for SCTP, DCCP and MPTCP sockets.
pub const IPPROTO_TCP: u16 = 6;

/// Fills in addresses, ports, state, namespace.
///
/// # Safety
///
/// `sk` is a `struct sock` of kind `R`.
#[inline(always)]
pub unsafe fn read_tuple<R: Read>(sk: *const u8, record: &mut TcpRecord) {
    // SAFETY: the caller vouches for the pointer, the table for the offsets.
    unsafe {
        record.family = R::field(sk, &SOCK_FAMILY);
        record.remote_port = u16::from_be(R::field(sk, &SOCK_DPORT));
        record.local_port = R::field(sk, &SOCK_NUM);
        record.netns = netns(sk);
        if record.family == AF_INET {
            record.local_addr = v4(R::field(sk, &SOCK_SADDR));
            record.remote_addr = v4(R::field(sk, &SOCK_DADDR));
        } else if record.family == AF_INET6 && SOCK_V6_DADDR.exists() {
            record.local_addr = v6::<R>(sk, &SOCK_V6_SADDR);
            record.remote_addr = v6::<R>(sk, &SOCK_V6_DADDR);
        }
    }
}

#[inline(always)]
fn v4(address: u32) -> [u8; 16] {
    let [a, b, c, d] = address.to_ne_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Two eight-byte loads: the verifier allows them inside `in6_addr`'s array, and they are half of four.
#[inline(always)]
unsafe fn v6<R: Read>(sk: *const u8, field: &Offset) -> [u8; 16] {
    // SAFETY: `struct in6_addr` is 16 bytes.
    let halves: [u64; 2] = unsafe { [R::field(sk, field), R::at(sk, field.get() + 8)] };
    // SAFETY: same size, no padding, any bytes are valid.
    unsafe { core::mem::transmute(halves) }
}

#[inline(always)]
unsafe fn netns(sk: *const u8) -> u32 {
    // SAFETY: `sock_common.skc_net` is a `possible_net_t`: one pointer to `struct net`.
    unsafe { crate::mem::Probed::field(pointer(sk, &SOCK_NET), &NET_INUM) }
}

/// The v2 cgroup that the socket belongs to: of its maker, or inherited from the listener.
///
/// # Safety
///
/// `sk` is a `struct sock`.
#[inline(always)]
pub unsafe fn cgroup_v2(sk: *const u8) -> u64 {
    if !SOCK_CGROUP.exists() {
        return 0;
    }
    // SAFETY: as the caller says.
    unsafe { kernfs_id(pointer(sk, &SOCK_CGROUP)) }
}

/// The local port of a connection that ended: `skc_num` is cleared before the last transition, `inet_sport` is not.
///
/// # Safety
///
/// `tp` is a `struct tcp_sock` of kind `R`.
#[inline(always)]
pub unsafe fn local_port<R: Read>(tp: *const u8) -> u16 {
    // SAFETY: as the caller says; a tcp_sock begins with its inet_sock.
    u16::from_be(unsafe { R::field(tp, &INET_SPORT) })
}

/// Fills in the counters.
///
/// `bytes_sent` counts payload including what was sent again, `bytes_received` counts one for a FIN
/// (`tcp_rcv_nxt_update` in `net/ipv4/tcp_input.c`); `SOCK_DONE` is set by `tcp_fin` alone.
///
/// # Safety
///
/// `tp` is a `struct tcp_sock` of kind `R`.
#[inline(always)]
pub unsafe fn read_counters<R: Read>(tp: *const u8, record: &mut TcpRecord) {
    // SAFETY: as the caller says; a tcp_sock begins with its sock.
    unsafe {
        let sent: u64 = R::field(tp, &TCP_BYTES_SENT);
        let retransmitted: u64 = R::field(tp, &TCP_BYTES_RETRANS);
        // A retransmission is counted before it is tried, a transmission after: for a moment there may be more of them.
        record.bytes_sent = sent.saturating_sub(retransmitted);
        record.bytes_received = R::field(tp, &TCP_BYTES_RECEIVED);
        record.retransmits = R::field(tp, &TCP_TOTAL_RETRANS);
        record.srtt_us = R::field::<u32>(tp, &TCP_SRTT) >> 3;
        record.flags |= FLAG_COUNTERS;
        let flags: u64 = R::field(tp, &SOCK_FLAGS);
        if SOCK_DONE_BIT.exists() && flags & (1 << SOCK_DONE_BIT.get()) != 0 {
            record.flags |= FLAG_FIN_RECEIVED;
        }
    }
}
