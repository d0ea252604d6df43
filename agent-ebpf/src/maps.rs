//! Maps that more than one family uses. Sizes come from `sonde_abi::budget`, where a test adds them up.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    helpers::bpf_ringbuf_query,
    macros::btf_map,
};
use sonde_abi::{
    budget::{ANSWERS_BYTES, CONNS_MAX, EVENTS_BYTES, EXITED_MAX, LOSSES_MAX, UDP_OWNERS_MAX},
    dns::AnswerRecord,
    process::{Exited, ExitedKey},
    tcp::Conn,
    udp,
};

/// `BPF_F_NO_PREALLOC`, include/uapi/linux/bpf.h: memory for elements in use only.
const NO_PREALLOC: usize = 1;

/// Life-cycle events of all families. Written by the programs, drained by the agent; full means a counted loss.
#[btf_map]
pub static EVENTS: RingBuf<u64, EVENTS_BYTES> = RingBuf::new();

/// What is known of a socket, by the address of its `struct sock`. Written and deleted by `tcp_state`; entries for
/// sockets older than the agent are put in by `tcp_iter`; the agent sweeps what no iterator sees any more.
#[btf_map]
pub static CONN_BY_SOCK: HashMap<u64, Conn, CONNS_MAX, NO_PREALLOC> = HashMap::new();

/// The same for the plain tracepoint. Before Linux 6.1 the kernel warns (`WARN_ONCE` in
/// `check_map_prog_compatibility`) when such a program uses a map that allocates on demand; this one is allocated at
/// once, and the loader gives it its size only when that program is the one to be used.
#[btf_map]
pub static CONN_BY_SOCK_TP: HashMap<u64, Conn, 1, 0> = HashMap::new();

/// Threads that ended without having been listed by a pass, by owner: one of the two is written while the other one is
/// taken empty. `sonde_abi::process::pass` tells which.
#[btf_map]
pub static EXITED_A: HashMap<ExitedKey, Exited, EXITED_MAX, NO_PREALLOC> = HashMap::new();
/// See [`EXITED_A`].
#[btf_map]
pub static EXITED_B: HashMap<ExitedKey, Exited, EXITED_MAX, NO_PREALLOC> = HashMap::new();

/// The mark of the last pass over all tasks, written by the agent.
#[btf_map]
pub static PASS: Array<u64, 1> = Array::new();
/// What each process sent and received over UDP. Entries are put in by the `udp_*` programs and taken out by the agent
/// once their process is gone.
#[btf_map]
pub static UDP_BY_OWNER: HashMap<udp::OwnerKey, udp::Totals, UDP_OWNERS_MAX, NO_PREALLOC> = HashMap::new();

/// DNS answers, by `dns_ingress`. It wakes nobody: the agent comes by timer, and full means a counted loss.
#[btf_map]
pub static ANSWERS: RingBuf<u64, ANSWERS_BYTES> = RingBuf::new();

/// Where `dns_ingress` puts an answer together.
#[btf_map]
pub static ANSWER: PerCpuArray<AnswerRecord, 1> = PerCpuArray::new();

/// Counters of `sonde_abi::codes::Loss`, per CPU.
#[btf_map]
pub static LOSSES: PerCpuArray<u64, LOSSES_MAX> = PerCpuArray::new();

/// `BPF_RB_AVAIL_DATA`, include/uapi/linux/bpf.h.
const AVAIL_DATA: u64 = 0;
/// `BPF_RB_NO_WAKEUP`.
pub const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
const FORCE_WAKEUP: u64 = 2;

/// Flags for submitting to [`EVENTS`]: the reader comes by timer, and is woken only when the ring is half full.
/// A wake-up per event would cost sixty times the event itself.
#[inline(always)]
pub fn wakeup_flags() -> u64 {
    // SAFETY: the helper only reads counters of the map it is given.
    let filled = unsafe { bpf_ringbuf_query((&raw const EVENTS).cast_mut().cast(), AVAIL_DATA) };
    if filled >= EVENTS_BYTES as u64 / 2 { FORCE_WAKEUP } else { NO_WAKEUP }
}
