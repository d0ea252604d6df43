//! UDP: what each process sends and receives, what goes wrong, and what its sockets drop.
//!
//! * [`calls`]: counted where the calls end, in the context of the process, from the best hook the kernel has: the end
//!   of the four functions that move datagrams (nothing runs for TCP), or the tracepoints that every socket's send and
//!   receive pass.
//! * [`packets`]: counted per packet where neither can be had. Knows the cgroup, but no process.
//! * [`peers`]: per packet for the whole node, by the addresses at both ends.
//! * [`sockets`]: drops, by an iterator over the open sockets and a hook at their end.

mod calls;
mod packets;
mod peers;
pub mod sockets;

use aya_ebpf::helpers::bpf_get_current_task;
use sonde_abi::{
    Header,
    codes::Loss,
    udp::{Failure, KIND_OWNER, OwnerKey, Totals, UdpRecord},
};

use crate::{
    loss,
    maps::{EVENTS, UDP_BY_OWNER, wakeup_flags},
    mem::{Probed, Read, add, pointer},
    offsets::*,
    owner::Owner,
};

/// include/uapi/linux/in.h.
pub const IPPROTO_UDP: u16 = 17;
/// include/linux/net.h. A raw socket may speak `IPPROTO_UDP` as well.
const SOCK_DGRAM: u16 = 2;
/// `BPF_NOEXIST`, include/uapi/linux/bpf.h.
const NOEXIST: u64 = 1;

/// The counters of the running process; makes them when it is new.
#[inline(always)]
fn of_current() -> Option<*mut Totals> {
    // SAFETY: the helpers have no preconditions, the task is alive while it runs.
    let key = unsafe {
        let task = bpf_get_current_task() as *const u8;
        let started_ns =
            if TASK_START.exists() { Probed::field(pointer(task, &TASK_LEADER), &TASK_START) } else { 0 };
        OwnerKey {
            cgroup_v2: aya_ebpf::helpers::bpf_get_current_cgroup_id(),
            started_ns,
            tgid: (aya_ebpf::helpers::bpf_get_current_pid_tgid() >> 32) as u32,
            _pad: 0,
        }
    };
    UDP_BY_OWNER.get_ptr_mut(key).or_else(|| {
        let owner = Owner::current();
        let totals = insert(&key, &owner)?;
        // Only who has an entry: with the map full, every call of the others would put an event into the ring.
        announce(&key, &owner);
        Some(totals)
    })
}

#[inline(always)]
fn insert(key: &OwnerKey, owner: &Owner) -> Option<*mut Totals> {
    let totals = Totals {
        cgroup_v1: owner.cgroup_v1,
        comm: owner.comm,
        sent_bytes: 0,
        received_bytes: 0,
        sent: 0,
        received: 0,
        errors: [0; Failure::ALL.len()],
    };
    // Another CPU may have been faster; what counts is that there is an entry then.
    let _ = UDP_BY_OWNER.insert(key, totals, NOEXIST);
    let entry = UDP_BY_OWNER.get_ptr_mut(key);
    if entry.is_none() {
        loss::count(Loss::UdpMapFull);
    }
    entry
}

/// Tells the agent of a new process while it is alive and has a name.
#[inline(always)]
fn announce(key: &OwnerKey, owner: &Owner) {
    let Some(mut entry) = EVENTS.reserve_untyped::<UdpRecord>(0) else {
        loss::count(Loss::UdpRingFull);
        return;
    };
    entry.write(UdpRecord {
        header: Header::of::<UdpRecord>(KIND_OWNER),
        inode: 0,
        started_ns: key.started_ns,
        drops: 0,
        cgroup_v2: key.cgroup_v2,
        cgroup_v1: owner.cgroup_v1,
        comm: owner.comm,
        tgid: key.tgid,
        _pad: 0,
    });
    entry.submit(wakeup_flags(&EVENTS));
}

/// One message sent.
#[inline(always)]
fn count_sent(totals: *mut Totals, bytes: u64) {
    // SAFETY: a value of the map, alive until the program ends.
    unsafe {
        add(&raw mut (*totals).sent_bytes, bytes);
        add(&raw mut (*totals).sent, 1);
    }
}

/// One message received.
#[inline(always)]
fn count_received(totals: *mut Totals, bytes: u64) {
    // SAFETY: as in `count_sent`.
    unsafe {
        add(&raw mut (*totals).received_bytes, bytes);
        add(&raw mut (*totals).received, 1);
    }
}
