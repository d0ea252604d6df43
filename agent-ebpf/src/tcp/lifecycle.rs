//! From state transitions to events: one machine for both tracepoints.
//!
//! The transition to SYN_SENT is the only one on the outbound side that surely runs in the caller's context, so the
//! owner is taken there and kept in `CONN_BY_SOCK`; ESTABLISHED and CLOSE often run in an interrupt.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use sonde_abi::{Header, codes::Loss, tcp::*};

use crate::{
    loss,
    maps::{EVENTS, wakeup_flags},
    owner::Owner,
};

/// What a hook knows of the socket it fired for.
pub trait Socket {
    /// The address of the `struct sock`.
    fn key(&self) -> u64;
    /// The task that is running now.
    fn current_owner(&self) -> Owner;
    /// What an accepted socket has from its listener.
    fn inherited_owner(&self) -> Owner;
    /// Fills in the address that the program asked for, where it can be told and is another one.
    fn note_asked(&self, conn: &mut Conn);
    /// Fills in addresses and, at the end of a connection, counters. `old` is the state that the socket leaves.
    fn describe(&self, kind: u16, old: i32, record: &mut TcpRecord);
    /// The entry of the socket.
    fn entry(&self) -> Option<*mut Conn>;
    /// Makes or replaces the entry; false when the map is full.
    fn insert(&self, conn: &Conn) -> bool;
    /// Removes the entry.
    fn remove(&self);
}

/// Handles one transition. A socket's own lock serialises them.
#[inline(always)]
pub fn transition(socket: &impl Socket, old: i32, new: i32) {
    match (old, new) {
        (_, state::SYN_SENT) => {
            let mut conn = new_conn(socket.current_owner(), ROLE_OUTBOUND, 0);
            socket.note_asked(&mut conn);
            insert(socket, &conn);
        }
        (_, state::ESTABLISHED) => established(socket, old),
        (_, state::LISTEN) => {
            emit(socket, KIND_LISTEN, old, &new_conn(socket.current_owner(), ROLE_UNKNOWN, 0))
        }
        (state::LISTEN, state::CLOSE) => {
            emit(socket, KIND_UNLISTEN, old, &new_conn(Owner::NONE, ROLE_UNKNOWN, 0))
        }
        (_, state::CLOSE) => closed(socket, old),
        _ => {}
    }
}

#[inline(always)]
fn insert(socket: &impl Socket, conn: &Conn) {
    if !socket.insert(conn) {
        loss::count(Loss::TcpMapFull);
    }
}

#[inline(always)]
fn established(socket: &impl Socket, old: i32) {
    if let Some(conn) = socket.entry() {
        // SAFETY: besides the number of a walk, only the socket's own transitions write to its entry. One that is
        // established already was left behind by an earlier socket at this address, and is replaced below.
        unsafe {
            if (*conn).established == 0 {
                (*conn).established = 1;
                return emit(socket, KIND_CONNECTED, old, &*conn);
            }
        }
    }
    // A child of a listener, or a connect whose start was before the agent's.
    let role = if old == state::SYN_SENT { ROLE_OUTBOUND } else { ROLE_INBOUND };
    let conn = Conn { established: 1, ..new_conn(socket.inherited_owner(), role, 0) };
    insert(socket, &conn);
    emit(socket, if role == ROLE_INBOUND { KIND_ACCEPTED } else { KIND_CONNECTED }, old, &conn);
}

#[inline(always)]
fn closed(socket: &impl Socket, old: i32) {
    let Some(conn) = socket.entry() else { return };
    // SAFETY: as in `established`; the entry is removed only after its last use.
    unsafe {
        let kind = if (*conn).established == 1 { KIND_CLOSED } else { KIND_CONNECT_FAILED };
        emit(socket, kind, old, &*conn);
    }
    socket.remove();
}

/// A fresh entry, born now.
#[inline(always)]
pub fn new_conn(owner: Owner, role: u8, flags: u8) -> Conn {
    Conn {
        // SAFETY: the helper has no preconditions.
        born_ns: unsafe { bpf_ktime_get_ns() },
        cgroup_v2: owner.cgroup_v2,
        cgroup_v1: owner.cgroup_v1,
        comm: owner.comm,
        tgid: owner.tgid,
        role,
        flags,
        established: 0,
        pass: 0,
        asked_addr: [0; 16],
        asked_port: 0,
        mark: [0; 3],
    }
}

/// Puts an event into the ring.
#[inline(always)]
fn emit(socket: &impl Socket, kind: u16, old: i32, conn: &Conn) {
    let Some(mut entry) = EVENTS.reserve_untyped::<TcpRecord>(0) else {
        loss::count(Loss::TcpRingFull);
        return;
    };
    // SAFETY: zero bytes are a valid record, and zeroing first leaves nothing of the ring's past in it.
    let record = unsafe {
        entry.as_mut_ptr().write_bytes(0, 1);
        entry.assume_init_mut()
    };
    record.header = Header::of::<TcpRecord>(kind);
    record.sock = socket.key();
    // SAFETY: the helper has no preconditions.
    record.at_ns = unsafe { bpf_ktime_get_ns() };
    socket.describe(kind, old, record);
    fill_conn(record, conn);
    if conn.role == ROLE_OUTBOUND && conn.tgid != 0 && kind != KIND_CLOSED {
        record.connect_ns = record.at_ns.wrapping_sub(conn.born_ns);
    }
    entry.submit(wakeup_flags(&EVENTS));
}

/// Copies identity and owner into a record.
#[inline(always)]
pub fn fill_conn(record: &mut TcpRecord, conn: &Conn) {
    record.born_ns = conn.born_ns;
    record.cgroup_v2 = conn.cgroup_v2;
    record.cgroup_v1 = conn.cgroup_v1;
    record.comm = conn.comm;
    record.tgid = conn.tgid;
    record.role = conn.role;
    record.flags |= conn.flags;
    record.asked_addr = conn.asked_addr;
    record.asked_port = conn.asked_port;
}
