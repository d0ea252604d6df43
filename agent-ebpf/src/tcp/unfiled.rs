//! `tcp_iter` (`iter/tcp`): connections that no open file leads to, which the walk over files cannot see: those of the
//! kernel itself (NFS, CIFS, Ceph, iSCSI and their kind), of direct descriptors of io_uring, and further subflows of
//! MPTCP. Of the network namespace of whoever opens the iterator, where the kernel's own usually are.
//!
//! It runs after a walk over all files, and shows what that has left out.

use aya_ebpf::{cty::c_void, helpers::bpf_ktime_get_ns};
use sonde_abi::{Header, tcp::*};

use super::{
    iter::{adopt, role},
    lifecycle::{fill_conn, new_conn},
};
use crate::{
    files::{Run, Sockets},
    maps::CONN_BY_SOCK,
    mem::{Probed, Read, Typed},
    offsets::*,
    owner::Owner,
    seq, sock,
};

/// `kthreadd`, the parent of all threads of the kernel, stands for them; include/linux/kthread.h.
const KERNEL: Owner = Owner { cgroup_v2: 1, cgroup_v1: 0, comm: *b"kthreadd\0\0\0\0\0\0\0\0", tgid: 2 };

/// `struct bpf_iter__tcp` of net/ipv4/tcp_ipv4.c: eight bytes a member.
#[repr(C)]
struct TcpContext {
    meta: *const u8,
    sk_common: *const u8,
}

/// One TCP socket.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn tcp_iter(ctx: *mut c_void) -> i32 {
    // SAFETY: the kernel calls this program with that context; the socket is null at the end of a walk, and may be a
    // request or a TIME_WAIT, which are no `struct tcp_sock`.
    unsafe {
        let ctx = ctx.cast::<TcpContext>();
        let (meta, sk) = ((*ctx).meta, (*ctx).sk_common);
        if !sk.is_null() {
            let tp = Typed::tcp_sock(sk);
            if !tp.is_null() {
                show(meta, tp);
            }
        }
    }
    0
}

/// A `struct tcp_sock` begins with its `struct sock`, and is read as either.
#[inline(always)]
unsafe fn show(meta: *const u8, tp: *const u8) {
    // SAFETY: `tp` is a `struct tcp_sock`; zero bytes are a valid record.
    unsafe {
        let socket_state: u8 = Typed::field(tp, &SOCK_STATE);
        match i32::from(socket_state) {
            state::CLOSE | state::SYN_SENT | state::SYN_RECV | state::NEW_SYN_RECV | state::LISTEN => return,
            _ => {}
        }
        let mut record: TcpRecord = core::mem::zeroed();
        record.header = Header::of::<TcpRecord>(KIND_SOCKET);
        record.sock = tp as u64;
        record.at_ns = bpf_ktime_get_ns();
        record.state = socket_state;
        sock::read_tuple::<Typed>(tp, &mut record);
        let Some(conn) = unfiled(tp, &record) else { return };
        sock::read_counters::<Typed>(tp, &mut record);
        fill_conn(&mut record, &conn);
        seq::write(meta, &record);
    }
}

/// Whether a connection that is older than the agent belongs to the kernel. Nothing can be said of others to which no file
/// leads. A subflow of MPTCP is the kernel's by name only, and its `struct socket` is that of another one.
#[inline(always)]
unsafe fn is_of_kernel(tp: *const u8, socket: *const u8) -> bool {
    // SAFETY: `tp` is a `struct tcp_sock` with its `struct socket`; the bit lies inside the former.
    unsafe {
        SOCK_KERN_BIT.exists()
            && Probed::at::<u8>(tp, SOCK_KERN_BIT.get() / 8) & (1 << (SOCK_KERN_BIT.get() % 8)) != 0
            && Typed::pointer(socket, &SOCKET_SK) as u64 == tp as u64
    }
}

/// The entry of a connection that no file leads to; `None` of others. What a program has closed has no `struct socket` any
/// more, and what it has yet to accept has none so far: both are told by their events.
#[inline(always)]
unsafe fn unfiled(tp: *const u8, record: &TcpRecord) -> Option<Conn> {
    let run = Run::last()?;
    // SAFETY: `tp` is a `struct tcp_sock`; its `sk_socket` is null or a `struct socket`.
    unsafe {
        let socket = Typed::pointer(tp, &SOCK_SOCKET);
        if socket.is_null() {
            return None;
        }
        let mark = tuple_mark(sock::local_port::<Typed>(tp), record.remote_port, record.remote_addr);
        if let Some(conn) = CONN_BY_SOCK.get_ptr(tp as u64)
            && ((*conn).flags & FLAG_ADOPTED == 0 || (*conn).mark == mark)
        {
            // One that is younger than the walk may have a file all the same.
            let is_missed = (*conn).pass != run.pass() && (*conn).born_ns < run.began_ns();
            return is_missed.then(|| *conn);
        }
        if !is_of_kernel(tp, socket) {
            return None;
        }
        let conn = Conn { established: 1, mark, ..new_conn(KERNEL, role::<Typed>(tp), FLAG_ADOPTED) };
        adopt::<Typed>(tp, conn)
    }
}
