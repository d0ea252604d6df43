//! `tcp_state_tp` (`tracepoint/sock/inet_sock_set_state`): the fallback for kernels whose BTF cannot be read.
//!
//! Its arguments carry addresses and states, but without offsets no pointer can be followed: connects, failures,
//! accepts and closes are counted, while bytes, retransmits and round-trip times are not measured.

use aya_ebpf::{
    EbpfContext as _, Global,
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::tracepoint,
    programs::TracePointContext,
};
use sonde_abi::tcp::{AF_INET, Conn, TcpRecord};

use super::lifecycle::{Socket, transition};
use crate::{
    maps::CONN_BY_SOCK_TP,
    mem::{Probed, Read},
    owner::Owner,
    sock::IPPROTO_TCP,
};

macro_rules! format_offsets {
    ($($name:ident,)*) => {
        $(/// Offset in the tracepoint's record, from `events/sock/inet_sock_set_state/format`.
        #[unsafe(no_mangle)]
        static $name: Global<u32> = Global::new(0);)*
    };
}

// The same list as `agent::kernel::tracefs`, which sets them before the program is verified.
format_offsets! {
    TP_SKADDR, TP_OLDSTATE, TP_NEWSTATE, TP_SPORT, TP_DPORT, TP_FAMILY, TP_PROTOCOL,
    TP_SADDR, TP_DADDR, TP_SADDR_V6, TP_DADDR_V6,
}

/// `sock:inet_sock_set_state`.
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub fn tcp_state_tp(ctx: TracePointContext) -> u32 {
    let args = Args(ctx.as_ptr().cast::<u8>().cast_const());
    if args.field::<u8>(&TP_PROTOCOL) == IPPROTO_TCP as u8 {
        transition(&args, args.field(&TP_OLDSTATE), args.field(&TP_NEWSTATE));
    }
    0
}

/// The tracepoint's record.
struct Args(*const u8);

impl Args {
    /// Reads an argument. The verifier refuses a direct load at an offset that is not in the instruction, so this goes
    /// through the helper.
    #[inline(always)]
    fn field<T: Copy + Default>(&self, offset: &Global<u32>) -> T {
        // SAFETY: the helper checks the address itself.
        unsafe { Probed::at(self.0, offset.load() as usize) }
    }
}

impl Socket for Args {
    #[inline(always)]
    fn key(&self) -> u64 {
        self.field(&TP_SKADDR)
    }

    #[inline(always)]
    fn current_owner(&self) -> Owner {
        Owner {
            // SAFETY: the helper has no preconditions.
            cgroup_v2: unsafe { bpf_get_current_cgroup_id() },
            cgroup_v1: 0,
            comm: bpf_get_current_comm().unwrap_or_default(),
            tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        }
    }

    #[inline(always)]
    fn inherited_owner(&self) -> Owner {
        Owner::NONE
    }

    #[inline(always)]
    fn note_asked(&self, _conn: &mut Conn) {}

    #[inline(always)]
    fn describe(&self, _kind: u16, _old: i32, record: &mut TcpRecord) {
        record.family = self.field(&TP_FAMILY);
        record.local_port = self.field(&TP_SPORT);
        record.remote_port = self.field(&TP_DPORT);
        if record.family == AF_INET {
            let [a, b, c, d] = self.field::<[u8; 4]>(&TP_SADDR);
            record.local_addr = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let [a, b, c, d] = self.field::<[u8; 4]>(&TP_DADDR);
            record.remote_addr = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        } else {
            record.local_addr = self.field(&TP_SADDR_V6);
            record.remote_addr = self.field(&TP_DADDR_V6);
        }
    }

    #[inline(always)]
    fn entry(&self) -> Option<*mut Conn> {
        CONN_BY_SOCK_TP.get_ptr_mut(self.key())
    }

    #[inline(always)]
    fn insert(&self, conn: &Conn) -> bool {
        CONN_BY_SOCK_TP.insert(self.key(), conn, 0).is_ok()
    }

    #[inline(always)]
    fn remove(&self) {
        // Absent is what is wanted.
        let _ = CONN_BY_SOCK_TP.remove(self.key());
    }
}
