//! What sockets drop: datagrams that arrived and found the receive buffer full, or had a wrong checksum.
//!
//! * [`show`]: every open UDP socket in the walk over all files ([`crate::files`]), with its drops so far and a process
//!   that holds it.
//! * `udp_release` (`cgroup/sock_release`): the end of a socket that had dropped something. Runs in the context of whoever
//!   closes it last.

use aya_ebpf::{helpers::bpf_get_current_task, programs::SockContext};
use sonde_abi::{
    Header,
    codes::Loss,
    udp::{KIND_CLOSED, KIND_SOCKET, UdpRecord},
};

use super::{IPPROTO_UDP, SOCK_DGRAM};
use crate::{
    files::{Run, Sockets},
    loss,
    maps::{EVENTS, wakeup_flags},
    mem::{Probed, Read, pointer},
    offsets::*,
    owner::Owner,
    packet::watch,
    seq,
};

/// Writes the row of a UDP socket; whether there was room.
///
/// # Safety
///
/// `sk` is the `struct sock` behind `file`, both of kind `R`; `meta` is the iterator context's `struct bpf_iter_meta`.
#[inline(always)]
pub unsafe fn show<R: Sockets>(meta: *const u8, file: *const u8, sk: *const u8, run: &Run) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let inode = R::field(R::pointer(file, &FILE_INODE), &INODE_NUMBER);
        seq::write(meta, &record(KIND_SOCKET, inode, drops(sk), &run.owner()))
    }
}

watch! {
    /// The last close of an internet socket.
    cgroup_sock(sock_release) SockContext, udp_release => released
}

#[inline(always)]
fn released(ctx: &SockContext) {
    // SAFETY: fields of the context; and what a program of this type gets as its context is the `struct sock` itself,
    // of which the rest is read by a helper that checks the address.
    unsafe {
        let context = ctx.sock;
        if (*context).protocol != u32::from(IPPROTO_UDP) || (*context).type_ != u32::from(SOCK_DGRAM) {
            return;
        }
        let sk = context.cast::<u8>().cast_const();
        let drops = drops(sk);
        if drops == 0 {
            return;
        }
        let owner = Owner::of(bpf_get_current_task() as *const u8);
        let Some(mut entry) = EVENTS.reserve_untyped::<UdpRecord>(0) else {
            loss::count(Loss::UdpReleaseRingFull);
            return;
        };
        entry.write(record(KIND_CLOSED, inode(sk), drops, &owner));
        entry.submit(wakeup_flags(&EVENTS));
    }
}

#[inline(always)]
fn record(kind: u16, inode: u64, drops: u64, owner: &Owner) -> UdpRecord {
    UdpRecord {
        header: Header::of::<UdpRecord>(kind),
        inode,
        started_ns: 0,
        drops,
        cgroup_v2: owner.cgroup_v2,
        cgroup_v1: owner.cgroup_v1,
        comm: owner.comm,
        tgid: owner.tgid,
        _pad: 0,
    }
}

/// The number of a socket's inode: it stands beside the `struct socket` (`SOCKET_I`, include/net/sock.h).
#[inline(always)]
unsafe fn inode(sk: *const u8) -> u64 {
    // SAFETY: `sk` is a `struct sock` that still has its `struct socket`.
    unsafe {
        let socket = pointer(sk, &SOCK_SOCKET);
        Probed::field(socket.wrapping_add(SOCKET_INODE.get()), &INODE_NUMBER)
    }
}

/// Since Linux 6.18 a UDP socket counts its drops in two places, by NUMA node (`sk_drops_read`, include/net/sock.h).
#[inline(always)]
unsafe fn drops(sk: *const u8) -> u64 {
    // SAFETY: `sk` is a `struct sock`.
    unsafe {
        if SOCK_DROP_COUNTERS.exists() && DROPS_FIRST.exists() && DROPS_SECOND.exists() {
            let counters = pointer(sk, &SOCK_DROP_COUNTERS);
            if !counters.is_null() {
                let (first, second): (u32, u32) =
                    (Probed::field(counters, &DROPS_FIRST), Probed::field(counters, &DROPS_SECOND));
                return u64::from(first) + u64::from(second);
            }
        }
        if SOCK_DROPS.exists() { u64::from(Probed::field::<u32>(sk, &SOCK_DROPS)) } else { 0 }
    }
}
