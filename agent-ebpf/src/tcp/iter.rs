//! `tcp_iter` (`iter/task_file`): one row per open TCP socket. Unlike `iter/tcp` it is not bound to the network
//! namespace of whoever opens it, and it knows the process. Of an MPTCP socket the row is that of its first subflow, the
//! TCP socket that the events tell of.

use aya_ebpf::{cty::c_void, helpers::bpf_ktime_get_ns};
use sonde_abi::{Header, codes::Loss, tcp::*};

use super::lifecycle::{fill_conn, new_conn};
use crate::{
    files::{TaskFileContext, shares_files_with_leader, socket_of},
    loss,
    maps::CONN_BY_SOCK,
    mem::{Probed, Read, pointer},
    offsets::*,
    owner::Owner,
    seq, sock,
};

/// include/linux/net.h.
const SOCK_STREAM: u16 = 1;
/// include/uapi/linux/in.h.
const IPPROTO_MPTCP: u16 = 262;

/// One open file of one task.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn tcp_iter(ctx: *mut c_void) -> i32 {
    // SAFETY: the kernel calls this program with that context; task and file are null at the end of a walk.
    unsafe {
        let ctx = ctx.cast::<TaskFileContext>();
        let (meta, task, file) = ((*ctx).meta, (*ctx).task, (*ctx).file);
        if task.is_null() || file.is_null() {
            return 0;
        }
        if let Some(sk) = tcp_socket_of(file)
            && !shares_files_with_leader(task)
        {
            row(meta, task, sk);
        }
    }
    0
}

/// The TCP socket behind a file: itself, or the first subflow of an MPTCP socket, which listens for it or carries its
/// bytes.
#[inline(always)]
unsafe fn tcp_socket_of(file: *const u8) -> Option<*const u8> {
    // SAFETY: `file` is a `struct file`; an MPTCP socket is a `struct mptcp_sock` and its first subflow a `struct sock`,
    // or null before there is one and after it is gone.
    unsafe {
        let mut sk = socket_of(file, SOCK_STREAM)?;
        if MPTCP_FIRST.exists() && sock::protocol::<Probed>(sk) == IPPROTO_MPTCP {
            sk = pointer(sk, &MPTCP_FIRST);
        }
        // Asked of both kinds, so that they are one again to the verifier. Null speaks nothing: it reads as zeros.
        (sock::protocol::<Probed>(sk) == sock::IPPROTO_TCP).then_some(sk)
    }
}

#[inline(always)]
unsafe fn row(meta: *const u8, task: *const u8, sk: *const u8) {
    // SAFETY: `sk` is a `struct sock` of a TCP socket, so also a `struct tcp_sock`; zero bytes are a valid record.
    unsafe {
        let socket_state: u8 = Probed::field(sk, &SOCK_STATE);
        let mut record: TcpRecord = core::mem::zeroed();
        record.header = Header::of::<TcpRecord>(KIND_SOCKET);
        record.sock = sk as u64;
        record.at_ns = bpf_ktime_get_ns();
        record.state = socket_state;
        sock::read_tuple::<Probed>(sk, &mut record);
        match i32::from(socket_state) {
            // Nothing to measure yet, or no more; their events tell their story.
            state::CLOSE | state::SYN_SENT | state::SYN_RECV | state::NEW_SYN_RECV => return,
            state::LISTEN => {
                sock::read_backlog::<Probed>(sk, &mut record);
                fill_conn(&mut record, &new_conn(Owner::of(task), ROLE_UNKNOWN, 0));
            }
            _ => {
                let Some(conn) = known_or_adopted(sk, task, &record) else { return };
                sock::read_counters::<Probed>(sk, &mut record);
                fill_conn(&mut record, &conn);
            }
        }
        seq::write(meta, &record);
    }
}

/// The entry of a connection; makes one for a connection older than the agent, so that its end will be seen. `None`
/// when that is not possible: a connection whose end is not seen would stay for ever. An adopted entry may be that of an
/// earlier socket at the same address, whose end nobody told.
#[inline(always)]
unsafe fn known_or_adopted(sk: *const u8, task: *const u8, record: &TcpRecord) -> Option<Conn> {
    let key = sk as u64;
    // SAFETY: `task` is a `struct task_struct`, `sk` a `struct sock`.
    unsafe {
        let owner = Owner::of(task);
        // The port that the socket keeps while it closes.
        let mark = tuple_mark(sock::local_port::<Probed>(sk), record.remote_port, record.remote_addr);
        if let Some(conn) = CONN_BY_SOCK.get_ptr(key)
            && ((*conn).flags & FLAG_ADOPTED == 0 || (*conn).mark == mark)
        {
            let mut conn = *conn;
            if conn.tgid == 0 {
                // Accepted in an interrupt: whoever holds it now owns it.
                (conn.cgroup_v2, conn.cgroup_v1) = (owner.cgroup_v2, owner.cgroup_v1);
                (conn.comm, conn.tgid) = (owner.comm, owner.tgid);
            }
            return Some(conn);
        }
        let conn = Conn { established: 1, mark, ..new_conn(owner, role(sk), FLAG_ADOPTED) };
        if CONN_BY_SOCK.insert(key, conn, 0).is_err() {
            loss::count(Loss::TcpIterMapFull);
            return None;
        }
        // It may have closed since its state was read, and its entry with it.
        let now: u8 = Probed::field(sk, &SOCK_STATE);
        if i32::from(now) == state::CLOSE {
            let _ = CONN_BY_SOCK.remove(key);
            return None;
        }
        Some(conn)
    }
}

/// Who opened a connection whose start nobody saw. An accepted socket is a copy of its listener (`sk_clone_lock`,
/// net/core/sock.c), the limit of its queue included, which nobody sets on a socket that connects. Of a listener with a
/// limit of zero nothing can be told.
#[inline(always)]
unsafe fn role(sk: *const u8) -> u8 {
    // SAFETY: `sk` is a `struct sock`; the member is 32 bits wide since Linux 5.4.
    let is_copy = SOCK_BACKLOG_MAX.exists() && unsafe { Probed::field::<u32>(sk, &SOCK_BACKLOG_MAX) } > 0;
    if is_copy { ROLE_INBOUND } else { ROLE_UNKNOWN }
}
