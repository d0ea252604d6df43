//! Rows of open TCP sockets in the walk over all files, which knows the process. Of an MPTCP socket the row is that of its
//! first subflow, the TCP socket that the events tell of.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use sonde_abi::{Header, codes::Loss, tcp::*};

use super::lifecycle::{fill_conn, new_conn};
use crate::{
    files::{Run, Sockets},
    loss,
    maps::CONN_BY_SOCK,
    mem::{Probed, Read, pointer},
    offsets::*,
    seq, sock,
};

/// include/uapi/linux/in.h.
const IPPROTO_MPTCP: u16 = 262;

/// Writes the row of a stream socket: of itself, or of the first subflow of an MPTCP socket, which listens for it or
/// carries its bytes. Whether there was room.
///
/// # Safety
///
/// `sk` is a `struct sock` of kind `R`, `meta` the iterator context's `struct bpf_iter_meta`.
#[inline(always)]
pub unsafe fn show<R: Sockets>(meta: *const u8, sk: *const u8, run: &Run) -> bool {
    // SAFETY: an MPTCP socket is a `struct mptcp_sock` and its first subflow a `struct sock`, or null before there is one
    // and after it is gone. The verifier knows no type of the latter.
    unsafe {
        let tp = R::tcp_sock(sk);
        if !tp.is_null() {
            return row::<R>(meta, sk, tp, run);
        }
        if !MPTCP_FIRST.exists() || sock::protocol::<R>(sk) != IPPROTO_MPTCP {
            return true;
        }
        let first = Probed::tcp_sock(pointer(sk, &MPTCP_FIRST));
        first.is_null() || row::<Probed>(meta, first, first, run)
    }
}

/// `sk` and `tp` are the same socket, known as two types.
#[inline(always)]
unsafe fn row<R: Sockets>(meta: *const u8, sk: *const u8, tp: *const u8, run: &Run) -> bool {
    // SAFETY: `sk` is a `struct sock` of a TCP socket and `tp` its `struct tcp_sock`; zero bytes are a valid record.
    unsafe {
        let socket_state: u8 = R::field(sk, &SOCK_STATE);
        let mut record: TcpRecord = core::mem::zeroed();
        record.header = Header::of::<TcpRecord>(KIND_SOCKET);
        record.sock = sk as u64;
        record.at_ns = bpf_ktime_get_ns();
        record.state = socket_state;
        sock::read_tuple::<R>(sk, &mut record);
        match i32::from(socket_state) {
            // Nothing to measure yet, or no more; their events tell their story.
            state::CLOSE | state::SYN_SENT | state::SYN_RECV | state::NEW_SYN_RECV => return true,
            state::LISTEN => {
                sock::read_backlog::<R>(sk, &mut record);
                fill_conn(&mut record, &new_conn(run.owner(), ROLE_UNKNOWN, 0));
            }
            _ => {
                let Some(conn) = known_or_adopted::<R>(sk, tp, run, &record) else { return true };
                sock::read_counters::<R>(tp, &mut record);
                fill_conn(&mut record, &conn);
            }
        }
        seq::write(meta, &record)
    }
}

/// The entry of a connection; makes one for a connection older than the agent, so that its end will be seen. `None`
/// when that is not possible: a connection whose end is not seen would stay for ever. An adopted entry may be that of an
/// earlier socket at the same address, whose end nobody told.
#[inline(always)]
unsafe fn known_or_adopted<R: Sockets>(
    sk: *const u8,
    tp: *const u8,
    run: &Run,
    record: &TcpRecord,
) -> Option<Conn> {
    let (key, owner, pass) = (sk as u64, run.owner(), run.pass());
    // SAFETY: `sk` is a `struct sock`, `tp` its `struct tcp_sock`.
    unsafe {
        // The port that the socket keeps while it closes.
        let mark = tuple_mark(sock::local_port::<R>(tp), record.remote_port, record.remote_addr);
        if let Some(conn) = CONN_BY_SOCK.get_ptr_mut(key)
            && ((*conn).flags & FLAG_ADOPTED == 0 || (*conn).mark == mark)
        {
            (*conn).pass = pass;
            let mut conn = *conn;
            if conn.tgid == 0 {
                // Accepted in an interrupt: whoever holds it now owns it.
                (conn.cgroup_v2, conn.cgroup_v1) = (owner.cgroup_v2, owner.cgroup_v1);
                (conn.comm, conn.tgid) = (owner.comm, owner.tgid);
            }
            return Some(conn);
        }
        let conn = Conn { established: 1, pass, mark, ..new_conn(owner, role::<R>(sk), FLAG_ADOPTED) };
        adopt::<R>(sk, conn)
    }
}

/// Puts in the entry of a connection that is older than the agent.
///
/// # Safety
///
/// `sk` is a `struct sock` of kind `R`.
#[inline(always)]
pub unsafe fn adopt<R: Read>(sk: *const u8, conn: Conn) -> Option<Conn> {
    let key = sk as u64;
    if CONN_BY_SOCK.insert(key, conn, 0).is_err() {
        loss::count(Loss::TcpIterMapFull);
        return None;
    }
    // It may have closed since its state was read, and its entry with it. One that is just between the event of its end
    // and the new state stays, and the agent's sweep finds it.
    // SAFETY: as the caller says.
    let now: u8 = unsafe { R::field(sk, &SOCK_STATE) };
    if i32::from(now) == state::CLOSE {
        let _ = CONN_BY_SOCK.remove(key);
        return None;
    }
    Some(conn)
}

/// Who opened a connection whose start nobody saw. An accepted socket is a copy of its listener (`sk_clone_lock`,
/// net/core/sock.c), the limit of its queue included, which nobody sets on a socket that connects. Of a listener with a
/// limit of zero nothing can be told.
///
/// # Safety
///
/// As for [`adopt`].
#[inline(always)]
pub unsafe fn role<R: Read>(sk: *const u8) -> u8 {
    // SAFETY: `sk` is a `struct sock`; the member is 32 bits wide since Linux 5.4.
    let is_copy = SOCK_BACKLOG_MAX.exists() && unsafe { R::field::<u32>(sk, &SOCK_BACKLOG_MAX) } > 0;
    if is_copy { ROLE_INBOUND } else { ROLE_UNKNOWN }
}
