//! Reading a `struct sock` and a `struct tcp_sock`.

use sonde_abi::tcp::{
    AF_INET, AF_INET6, END_ORDERLY, END_RESET_RECEIVED, END_RESET_SENT, FLAG_COUNTERS, FLAG_FIN_RECEIVED,
    FLAG_UNSENT, TcpRecord, state,
};

use crate::{
    mem::{Read, bytes, pointer},
    offsets::*,
    owner::kernfs_id,
};

/// `IPPROTO_TCP`. `inet_sock_set_state` also fires for SCTP, DCCP and MPTCP sockets.
pub const IPPROTO_TCP: u16 = 6;

/// What a socket speaks.
///
/// # Safety
///
/// `sk` is a `struct sock` of kind `R`.
#[inline(always)]
pub unsafe fn protocol<R: Read>(sk: *const u8) -> u16 {
    // SAFETY: as the caller says; 16 bits wide since Linux 5.6.
    unsafe { R::field(sk, &SOCK_PROTOCOL) }
}

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
        record.netns = netns::<R>(sk);
        if record.family == AF_INET {
            record.local_addr = v4(R::field(sk, &SOCK_SADDR));
            record.remote_addr = v4(R::field(sk, &SOCK_DADDR));
        } else if record.family == AF_INET6 && SOCK_V6_DADDR.exists() {
            record.local_addr = v6::<R>(sk, &SOCK_V6_SADDR);
            record.remote_addr = v6::<R>(sk, &SOCK_V6_DADDR);
        }
    }
}

/// An IPv4 address in the first four bytes.
#[inline(always)]
pub fn v4(address: u32) -> [u8; 16] {
    // The lower half of a little-endian word is its first.
    bytes([u64::from(address), 0])
}

/// Two eight-byte loads: the verifier allows them inside `in6_addr`'s array, and they are half of four.
///
/// # Safety
///
/// `field` is a `struct in6_addr` of `sk`.
#[inline(always)]
pub unsafe fn v6<R: Read>(sk: *const u8, field: &Offset) -> [u8; 16] {
    // SAFETY: `struct in6_addr` is 16 bytes.
    bytes(unsafe { [R::field(sk, field), R::at(sk, field.get() + 8)] })
}

#[inline(always)]
unsafe fn netns<R: Read>(sk: *const u8) -> u32 {
    // SAFETY: `sock_common.skc_net` is a `possible_net_t`: one pointer to `struct net`, whose type the verifier knows too.
    unsafe { R::field(R::field::<usize>(sk, &SOCK_NET) as *const u8, &NET_INUM) }
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
        record.min_rtt_us = match TCP_MIN_RTT.exists() {
            // The first sample of `struct minmax` is the smallest; its value follows its time.
            true => R::at(tp, TCP_MIN_RTT.get() + 4),
            false => u32::MAX,
        };
        record.flags |= FLAG_COUNTERS;
        if has_flag::<R>(tp, &SOCK_DONE_BIT) {
            record.flags |= FLAG_FIN_RECEIVED;
        }
    }
}

/// Fills in what a listening socket counts.
///
/// # Safety
///
/// `sk` is a `struct sock` of kind `R` that listens, or did until now.
#[inline(always)]
pub unsafe fn read_backlog<R: Read>(sk: *const u8, record: &mut TcpRecord) {
    if !(SOCK_BACKLOG.exists() && SOCK_BACKLOG_MAX.exists() && SOCK_DROPS.exists()) {
        return;
    }
    // SAFETY: as the caller says; all three are 32 bits wide since Linux 5.4.
    unsafe {
        record.backlog = R::field(sk, &SOCK_BACKLOG);
        // listen(fd, 0) lets one connection wait: the kernel compares with `>`.
        record.backlog_max = R::field::<u32>(sk, &SOCK_BACKLOG_MAX).saturating_add(1);
        record.drops = R::field(sk, &SOCK_DROPS);
    }
}

/// Notes that a failed attempt never sent its SYN: connect(2) itself found no free local port, and left no error in
/// the socket.
///
/// # Safety
///
/// As for [`read_counters`].
#[inline(always)]
pub unsafe fn read_unsent<R: Read>(tp: *const u8, record: &mut TcpRecord) {
    // SAFETY: as the caller says.
    if TCP_SEGS_OUT.exists() && unsafe { R::field::<u32>(tp, &TCP_SEGS_OUT) } == 0 {
        record.flags |= FLAG_UNSENT;
    }
}

/// How a connection ended that was in state `old` until now.
///
/// `tcp_reset` (net/ipv4/tcp_input.c) leaves ECONNRESET behind, or EPIPE after the peer's FIN. It also runs when data
/// arrives after this side closed both directions; that is no reset of the peer's. Without an error, only a connection
/// given up (`__tcp_close` with unread data or a linger time of zero, `tcp_disconnect`) goes from a state of these to
/// CLOSE at once. What happens after the program closed its socket is not the program's affair any more.
///
/// # Safety
///
/// As for [`read_counters`].
#[inline(always)]
pub unsafe fn end<R: Read>(tp: *const u8, old: i32) -> u8 {
    const ECONNRESET: i32 = 104;
    const EPIPE: i32 = 32;
    const RCV_SHUTDOWN: u8 = 1;
    // SAFETY: as the caller says; a tcp_sock begins with its sock.
    unsafe {
        if has_flag::<R>(tp, &SOCK_DEAD_BIT) {
            return END_ORDERLY;
        }
        let error: i32 = R::field(tp, &SOCK_ERR);
        let finishing = old == state::FIN_WAIT1 || old == state::FIN_WAIT2;
        if error == ECONNRESET || error == EPIPE {
            let shut = SOCK_SHUTDOWN.exists() && R::field::<u8>(tp, &SOCK_SHUTDOWN) & RCV_SHUTDOWN != 0;
            return if finishing && shut { END_ORDERLY } else { END_RESET_RECEIVED };
        }
        let given_up = match old {
            state::ESTABLISHED | state::CLOSE_WAIT | state::FIN_WAIT1 => true,
            state::FIN_WAIT2 => !has_flag::<R>(tp, &SOCK_DONE_BIT),
            _ => false,
        };
        if error == 0 && given_up { END_RESET_SENT } else { END_ORDERLY }
    }
}

#[inline(always)]
unsafe fn has_flag<R: Read>(sk: *const u8, bit: &Offset) -> bool {
    // SAFETY: the callers vouch for the socket.
    bit.exists() && unsafe { R::field::<u64>(sk, &SOCK_FLAGS) } & (1 << bit.get()) != 0
}
