//! TCP: the life of every connection, and a snapshot of the open ones.
//!
//! * `tcp_state` (`tp_btf/inet_sock_set_state`): connects, failures, accepts, listens, closes. The transition to
//!   CLOSE carries the final counters: after it no byte moves any more.
//! * `tcp_state_tp` ([`tracepoint`]): the same from the plain tracepoint, where BTF cannot be read.
//! * [`iter`]: every open socket in the walk over all files ([`crate::files`]), with its owner and its counters so far.
//! * `tcp_iter` ([`unfiled`]): those that no file leads to.

use aya_ebpf::{helpers::bpf_skc_to_tcp_sock, macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::tcp::{Conn, FLAG_ERROR, KIND_CLOSED, KIND_CONNECT_FAILED, KIND_UNLISTEN, TcpRecord};

use crate::{
    maps::CONN_BY_SOCK,
    mem::{Read, Typed},
    offsets::*,
    owner::Owner,
    sock,
};

mod asked;
pub mod iter;
mod lifecycle;
mod tracepoint;
mod unfiled;

/// `trace_inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`,
/// include/trace/events/sock.h.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn tcp_state(ctx: BtfTracePointContext) -> i32 {
    let sock = BtfSock(ctx.arg(0));
    // SAFETY: the first argument is a `struct sock`, known to the verifier by type.
    let protocol: u16 = unsafe { Typed::field(sock.0, &SOCK_PROTOCOL) };
    if protocol == sock::IPPROTO_TCP {
        lifecycle::transition(&sock, ctx.arg(1), ctx.arg(2));
    }
    0
}

/// A `struct sock` that the verifier knows by type.
struct BtfSock(*const u8);

impl lifecycle::Socket for BtfSock {
    #[inline(always)]
    fn key(&self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn current_owner(&self) -> Owner {
        Owner::current()
    }

    #[inline(always)]
    fn inherited_owner(&self) -> Owner {
        // SAFETY: `self.0` is a `struct sock`.
        Owner { cgroup_v2: unsafe { sock::cgroup_v2(self.0) }, ..Owner::NONE }
    }

    #[inline(always)]
    fn note_asked(&self, conn: &mut Conn) {
        // SAFETY: `self.0` is a `struct sock`; this is called for the transition to SYN_SENT only.
        unsafe { asked::note(self.0, conn) };
    }

    #[inline(always)]
    fn describe(&self, kind: u16, old: i32, record: &mut TcpRecord) {
        // SAFETY: `self.0` is a `struct sock`; the helper returns null or a tcp_sock known by type.
        unsafe {
            sock::read_tuple::<Typed>(self.0, record);
            record.flags |= FLAG_ERROR;
            record.error = Typed::field::<i32>(self.0, &SOCK_ERR) as u16;
            if kind == KIND_UNLISTEN {
                sock::read_backlog::<Typed>(self.0, record);
            }
            if kind == KIND_CLOSED || kind == KIND_CONNECT_FAILED {
                let tp = bpf_skc_to_tcp_sock(self.0.cast_mut().cast()).cast::<u8>();
                if !tp.is_null() {
                    record.local_port = sock::local_port::<Typed>(tp);
                    if kind == KIND_CLOSED {
                        sock::read_counters::<Typed>(tp, record);
                        record.end = sock::end::<Typed>(tp, old);
                    } else {
                        sock::read_unsent::<Typed>(tp, record);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn entry(&self) -> Option<*mut Conn> {
        CONN_BY_SOCK.get_ptr_mut(self.key())
    }

    #[inline(always)]
    fn insert(&self, conn: &Conn) -> bool {
        CONN_BY_SOCK.insert(self.key(), conn, 0).is_ok()
    }

    #[inline(always)]
    fn remove(&self) {
        // Absent is what is wanted.
        let _ = CONN_BY_SOCK.remove(self.key());
    }
}
