//! TCP: one record type for life-cycle events and for the iterator's rows.

use core::mem::size_of;

use crate::record::{Header, Record};

/// Kinds 0x10–0x1f belong to this family.
pub const KIND_CONNECTED: u16 = 0x10;
/// An outbound connection attempt ended without a connection; `error` says why.
pub const KIND_CONNECT_FAILED: u16 = 0x11;
/// A connection arrived at a listening socket.
pub const KIND_ACCEPTED: u16 = 0x12;
/// An established connection ended; the counters are final.
pub const KIND_CLOSED: u16 = 0x13;
/// A socket began to listen.
pub const KIND_LISTEN: u16 = 0x14;
/// A socket stopped listening.
pub const KIND_UNLISTEN: u16 = 0x15;
/// A row of the iterator: a socket that some process holds open now.
pub const KIND_SOCKET: u16 = 0x16;

/// `role`: not known (the socket existed before the agent, or its start was missed).
pub const ROLE_UNKNOWN: u8 = 0;
/// `role`: this side called connect(2).
pub const ROLE_OUTBOUND: u8 = 1;
/// `role`: this side was accepted from a listening socket.
pub const ROLE_INBOUND: u8 = 2;

/// `flags`: the counters are measured. Without it they are zero because nothing could read them.
pub const FLAG_COUNTERS: u8 = 1;
/// `flags`: the peer's FIN was received, so `bytes_received` counts one sequence number that was no data.
pub const FLAG_FIN_RECEIVED: u8 = 2;
/// `flags`: the connection was already there when it was first seen; its counters so far are a baseline.
pub const FLAG_ADOPTED: u8 = 4;
/// `flags`: connect(2) was given another address than the one connected to; see `asked_addr`.
pub const FLAG_ASKED: u8 = 8;
/// `flags`: the attempt ended before its first segment was sent.
pub const FLAG_UNSENT: u8 = 16;
/// `flags`: `error` is what the socket says. Without it nothing could read it.
pub const FLAG_ERROR: u8 = 32;

/// `end`: the usual way, or not known.
pub const END_ORDERLY: u8 = 0;
/// `end`: the peer's reset arrived while a program held the socket.
pub const END_RESET_RECEIVED: u8 = 1;
/// `end`: the program gave the connection up, and the kernel sent a reset.
pub const END_RESET_SENT: u8 = 2;

/// `family`: IPv4 (`AF_INET`).
pub const AF_INET: u16 = 2;
/// `family`: IPv6 (`AF_INET6`).
pub const AF_INET6: u16 = 10;

/// States of a TCP socket, `include/net/tcp_states.h`; stable since Linux 2.4, exposed in `/proc/net/tcp`.
pub mod state {
    /// Data flows both ways.
    pub const ESTABLISHED: i32 = 1;
    /// A SYN was sent.
    pub const SYN_SENT: i32 = 2;
    /// A SYN was received.
    pub const SYN_RECV: i32 = 3;
    /// This side sent its FIN; nobody confirmed it yet.
    pub const FIN_WAIT1: i32 = 4;
    /// The peer confirmed this side's FIN.
    pub const FIN_WAIT2: i32 = 5;
    /// Gone.
    pub const CLOSE: i32 = 7;
    /// The peer sent its FIN.
    pub const CLOSE_WAIT: i32 = 8;
    /// Waits for connections.
    pub const LISTEN: i32 = 10;
    /// A request socket on its way to a child (`TCP_NEW_SYN_RECV`).
    pub const NEW_SYN_RECV: i32 = 12;
}

/// An event in a connection's life, or a row of the iterator.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRecord {
    /// Kind and size.
    pub header: Header,
    /// Address of the `struct sock`: with `born_ns` the identity of the connection.
    pub sock: u64,
    /// When tracking of this socket began, nanoseconds of `bpf_ktime_get_ns`; tells reuses of an address apart.
    pub born_ns: u64,
    /// When the record was made, same clock.
    pub at_ns: u64,
    /// SYN sent to established (or failed), nanoseconds; 0 where that was not seen.
    pub connect_ns: u64,
    /// Cgroup id on the unified hierarchy of who made the socket.
    pub cgroup_v2: u64,
    /// Cgroup id on the v1 memory hierarchy; 0 when unknown.
    pub cgroup_v1: u64,
    /// Payload bytes sent, without retransmissions.
    pub bytes_sent: u64,
    /// `tcp_sock.bytes_received`; see [`FLAG_FIN_RECEIVED`].
    pub bytes_received: u64,
    /// Local address, network order; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
    /// Remote address, network order; IPv4 in the first four bytes.
    pub remote_addr: [u8; 16],
    /// With [`FLAG_ASKED`]: the address given to connect(2), of the same family, in the same form.
    pub asked_addr: [u8; 16],
    /// Thread group leader's name, NUL-padded.
    pub comm: [u8; 16],
    /// Inode of the network namespace; 0 when unknown.
    pub netns: u32,
    /// Thread group of who made the socket; 0 when unknown.
    pub tgid: u32,
    /// Segments retransmitted.
    pub retransmits: u32,
    /// Smoothed round-trip time, microseconds.
    pub srtt_us: u32,
    /// Smallest round-trip time of the kernel's window (five minutes), microseconds; all ones before the first.
    pub min_rtt_us: u32,
    /// Of a listening socket: connections that wait to be accepted.
    pub backlog: u32,
    /// Of a listening socket: how many may wait. Nonzero wherever `backlog` and `drops` were read.
    pub backlog_max: u32,
    /// Of a listening socket: connections and attempts it dropped (`sk_drops`); wraps around.
    pub drops: u32,
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
    /// With [`FLAG_ASKED`]: the port given to connect(2), host order.
    pub asked_port: u16,
    /// Errno of a failure, positive; 0 when the kernel left none behind.
    pub error: u16,
    /// [`AF_INET`] or [`AF_INET6`].
    pub family: u16,
    /// State of the socket, see [`state`].
    pub state: u8,
    /// One of `ROLE_*`.
    pub role: u8,
    /// Any of `FLAG_*`.
    pub flags: u8,
    /// One of `END_*`.
    pub end: u8,
    /// Zero.
    pub _pad: [u8; 2],
}

const _: () = assert!(size_of::<TcpRecord>() == 184);

// SAFETY: repr(C), header first, the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Record for TcpRecord {
    fn has_kind(kind: u16) -> bool {
        (KIND_CONNECTED..=KIND_SOCKET).contains(&kind)
    }
}

/// What the kernel half remembers of a socket between its events: value of the map `CONN_BY_SOCK`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// As in [`TcpRecord`].
    pub born_ns: u64,
    /// As in [`TcpRecord`].
    pub cgroup_v2: u64,
    /// As in [`TcpRecord`].
    pub cgroup_v1: u64,
    /// As in [`TcpRecord`].
    pub comm: [u8; 16],
    /// As in [`TcpRecord`].
    pub tgid: u32,
    /// One of `ROLE_*`.
    pub role: u8,
    /// [`FLAG_ADOPTED`] and [`FLAG_ASKED`].
    pub flags: u8,
    /// 1 once the connection was established, else 0.
    pub established: u8,
    /// The last walk over open files that saw it (`FilesRun.pass`); 0 when none did.
    pub pass: u8,
    /// As in [`TcpRecord`].
    pub asked_addr: [u8; 16],
    /// As in [`TcpRecord`].
    pub asked_port: u16,
    /// With [`FLAG_ADOPTED`]: what tells the socket from a later one at the same address, see [`tuple_mark`]. Where no
    /// program runs when a connection ends, an entry outlives its socket until a pass misses it.
    pub mark: [u16; 3],
}

/// Both ports, and the remote address folded: a connection keeps them from its first to its last byte.
#[inline(always)]
pub const fn tuple_mark(local_port: u16, remote_port: u16, remote_addr: [u8; 16]) -> [u16; 3] {
    let address = u128::from_ne_bytes(remote_addr);
    let mut folded = (address as u64) ^ ((address >> 64) as u64);
    folded ^= folded >> 32;
    folded ^= folded >> 16;
    [local_port, remote_port, folded as u16]
}

// With the map's own 56 bytes per element this fills a block of the kernel's allocator exactly.
const _: () = assert!(size_of::<Conn>() == 72);
