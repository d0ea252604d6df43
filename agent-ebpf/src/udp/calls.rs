//! Calls that move datagrams, at their end: the process is the current one, and the result tells bytes or failure.
//!
//! * `udp_sendmsg`, `udpv6_sendmsg`, `udp_recvmsg`, `udpv6_recvmsg` (`fexit`): the socket is UDP for sure.
//! * `udp_send_length`, `udp_recv_length` (`tp_btf/sock_send_length`, `tp_btf/sock_recv_length`, since Linux 6.3): run for
//!   every call on every socket, and leave at once when it is not UDP.

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use sonde_abi::{
    tcp::{AF_INET, AF_INET6},
    udp::Failure,
};

use super::{IPPROTO_UDP, SOCK_DGRAM, count_received, count_sent, of_current};
use crate::{
    mem::{Read, Typed, add},
    offsets::*,
};

/// `MSG_PEEK`: the datagram stays, and will be received again.
const MSG_PEEK: i32 = 2;
/// `MSG_ERRQUEUE`: what comes back is one that was sent.
const MSG_ERRQUEUE: i32 = 0x2000;

/// `udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`. For an IPv6 socket it is a part of
/// `udpv6_sendmsg`, which counts.
#[fexit(function = "udp_sendmsg")]
pub fn udp_sendmsg(ctx: FExitContext) -> i32 {
    // SAFETY: the first argument is a `struct sock`, known to the verifier by type.
    let family: u16 = unsafe { Typed::field(ctx.arg(0), &SOCK_FAMILY) };
    if family == AF_INET && is_udp(ctx.arg(0)) {
        sent(ctx.arg(3));
    }
    0
}

/// `udpv6_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`.
#[fexit(function = "udpv6_sendmsg")]
pub fn udpv6_sendmsg(ctx: FExitContext) -> i32 {
    if is_udp(ctx.arg(0)) {
        sent(ctx.arg(3));
    }
    0
}

/// `udp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)`; before Linux 5.19 there is
/// `int noblock` before the flags.
#[fexit(function = "udp_recvmsg")]
pub fn udp_recvmsg(ctx: FExitContext) -> i32 {
    end_of_recvmsg(&ctx);
    0
}

/// As [`udp_recvmsg`].
#[fexit(function = "udpv6_recvmsg")]
pub fn udpv6_recvmsg(ctx: FExitContext) -> i32 {
    end_of_recvmsg(&ctx);
    0
}

#[inline(always)]
fn end_of_recvmsg(ctx: &FExitContext) {
    if is_udp(ctx.arg(0)) {
        // The branch that does not fit the kernel is never verified: the count is a constant.
        let (flags, result) = if UDP_RECVMSG_PARAMETERS.get() == 6 {
            (argument::<4>(ctx), argument::<6>(ctx))
        } else {
            (argument::<3>(ctx), argument::<5>(ctx))
        };
        received(result, flags);
    }
}

/// An argument, or the result behind the last one. LLVM would make one load at a computed address of the two branches
/// above, which the verifier refuses; this it leaves alone.
#[inline(always)]
fn argument<const N: usize>(ctx: &FExitContext) -> i32 {
    let value: u64;
    // SAFETY: a load of eight bytes from the context, whose bounds the verifier checks.
    unsafe {
        core::arch::asm!(
            "{value} = *(u64 *)({context} + {at})",
            value = out(reg) value,
            context = in(reg) ctx.as_ptr(),
            at = const N * 8,
        );
    }
    value as i32
}

/// `trace_sock_send_length(struct sock *sk, int ret, int flags)`, include/trace/events/sock.h.
#[btf_tracepoint(function = "sock_send_length")]
pub fn udp_send_length(ctx: BtfTracePointContext) -> i32 {
    if is_udp(ctx.arg(0)) && is_inet(ctx.arg(0)) {
        sent(ctx.arg(1));
    }
    0
}

/// `trace_sock_recv_length(struct sock *sk, int ret, int flags)`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn udp_recv_length(ctx: BtfTracePointContext) -> i32 {
    if is_udp(ctx.arg(0)) && is_inet(ctx.arg(0)) {
        received(ctx.arg(1), ctx.arg(2));
    }
    0
}

/// The protocol first: it sends TCP away after one read.
#[inline(always)]
fn is_udp(sk: *const u8) -> bool {
    // SAFETY: `sk` is a `struct sock`, known to the verifier by type.
    unsafe {
        Typed::field::<u16>(sk, &SOCK_PROTOCOL) == IPPROTO_UDP
            && Typed::field::<u16>(sk, &SOCK_TYPE) == SOCK_DGRAM
    }
}

/// The same numbers mean something else in other families.
#[inline(always)]
fn is_inet(sk: *const u8) -> bool {
    // SAFETY: as in `is_udp`.
    let family: u16 = unsafe { Typed::field(sk, &SOCK_FAMILY) };
    family == AF_INET || family == AF_INET6
}

#[inline(always)]
fn sent(result: i32) {
    let Some(totals) = of_current() else { return };
    if result >= 0 {
        count_sent(totals, result as u64);
    } else {
        fail(totals, Failure::of_errno(-result));
    }
}

#[inline(always)]
fn received(result: i32, flags: i32) {
    if flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let failure = Failure::of_errno(-result);
    if result < 0 && !failure.is_of_network() {
        return;
    }
    let Some(totals) = of_current() else { return };
    if result >= 0 {
        count_received(totals, result as u64);
    } else {
        fail(totals, failure);
    }
}

#[inline(always)]
fn fail(totals: *mut sonde_abi::udp::Totals, failure: Failure) {
    let index = failure as usize;
    if index < Failure::ALL.len() {
        // SAFETY: the index is inside; `totals` is a value of the map.
        unsafe { add((&raw mut (*totals).errors).cast::<u64>().add(index), 1) };
    }
}
