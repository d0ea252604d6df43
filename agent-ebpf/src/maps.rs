//! The maps of all families. Sizes come from `sonde_abi::budget`, where a test adds them up.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
    helpers::bpf_ringbuf_query,
    macros::btf_map,
};
use sonde_abi::{
    block::{BioCounts, BioKey},
    budget::{
        ANSWERS_BYTES, CONNS_MAX, EVENTS_BYTES, EXITED_MAX, LOSSES_MAX, UDP_OWNERS_MAX, UDP_PEERS_MAX,
        VICTIMS_MAX,
    },
    dns::AnswerRecord,
    latency::{self, DiskLatencyKey, Latency, RunQueueKey},
    process::{Exited, OwnerKey, pass},
    tcp::Conn,
    udp,
};

use crate::mem::add;

/// `BPF_F_NO_PREALLOC`, include/uapi/linux/bpf.h: memory for elements in use only.
const NO_PREALLOC: usize = 1;

/// Life-cycle events of all families. Written by the programs, drained by the agent; full means a counted loss.
#[btf_map]
pub static EVENTS: RingBuf<u64, EVENTS_BYTES> = RingBuf::new();

/// What is known of a socket, by the address of its `struct sock`. Written and deleted by `tcp_state`; entries for
/// sockets older than the agent are put in by `file_iter` and `tcp_iter`; the agent sweeps what no iterator sees any more.
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
pub static EXITED_A: HashMap<OwnerKey, Exited, EXITED_MAX, NO_PREALLOC> = HashMap::new();
/// See [`EXITED_A`].
#[btf_map]
pub static EXITED_B: HashMap<OwnerKey, Exited, EXITED_MAX, NO_PREALLOC> = HashMap::new();

/// I/O by owner and disk, by turns as [`EXITED_A`]. One entry unless cgroup files do not count I/O.
#[btf_map]
pub static BIOS_A: HashMap<BioKey, BioCounts, 1, NO_PREALLOC> = HashMap::new();
/// See [`BIOS_A`].
#[btf_map]
pub static BIOS_B: HashMap<BioKey, BioCounts, 1, NO_PREALLOC> = HashMap::new();

/// Waiting for a CPU by cgroup. One entry unless configuration asks for it; allocated at once, because the scheduler
/// holds its locks when it is written.
#[btf_map]
pub static RUN_QUEUE: PerCpuHashMap<RunQueueKey, Latency, 1> = PerCpuHashMap::new();

/// Requests by disk. One entry unless configuration asks for it; allocated at once, because it is written in interrupts.
#[btf_map]
pub static DISK_LATENCY: PerCpuHashMap<DiskLatencyKey, Latency, 1> = PerCpuHashMap::new();

/// Dropped packets by reason. One entry unless configuration asks for it.
#[btf_map]
pub static DROPS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Threads that the OOM killer has chosen and that have yet to end, where the kernel tells their numbers only. Allocated
/// at once: there is no memory to be had when it is written.
#[btf_map]
pub static VICTIMS: HashMap<u32, u32, VICTIMS_MAX> = HashMap::new();

/// The mark of the last pass over all tasks, written by the agent.
#[btf_map]
pub static PASS: Array<u64, 1> = Array::new();
/// What each process sent and received over UDP. Entries are put in by the `udp_*` programs and taken out by the agent
/// once their process is gone.
#[btf_map]
pub static UDP_BY_OWNER: HashMap<udp::OwnerKey, udp::Totals, UDP_OWNERS_MAX, NO_PREALLOC> = HashMap::new();

/// Datagrams of the whole node by the addresses at both ends, by turns as [`EXITED_A`]; [`UDP_PEERS_TURN`] tells whose.
#[btf_map]
pub static UDP_PEERS_A: HashMap<udp::PeerKey, udp::PeerBytes, UDP_PEERS_MAX, NO_PREALLOC> = HashMap::new();
/// See [`UDP_PEERS_A`].
#[btf_map]
pub static UDP_PEERS_B: HashMap<udp::PeerKey, udp::PeerBytes, UDP_PEERS_MAX, NO_PREALLOC> = HashMap::new();

/// What found no room in [`UDP_PEERS_A`] and [`UDP_PEERS_B`], and how fast these fill.
#[btf_map]
pub static UDP_PEERS_REST: PerCpuArray<udp::PeerBytes, 1> = PerCpuArray::new();

/// Which of the two maps is written, as a mark of `sonde_abi::process::pass`; written by the agent.
#[btf_map]
pub static UDP_PEERS_TURN: Array<u64, 1> = Array::new();

/// DNS answers, by `dns_ingress`; drained as [`EVENTS`] is. Full means a counted loss.
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
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
const FORCE_WAKEUP: u64 = 2;

/// The mark of the pass that the agent began last; see `sonde_abi::process::pass`.
#[inline(always)]
pub fn pass_mark() -> u64 {
    mark_in(&PASS)
}

/// The mark that the agent wrote last.
#[inline(always)]
pub fn mark_in(map: &Array<u64, 1>) -> u64 {
    map.get(0).map_or(0, |mark| {
        // SAFETY: a value of a map; user space writes its eight bytes at once.
        unsafe { (&raw const *mark).read_volatile() }
    })
}

/// The entry of a key in one of two maps that are written by turns, put in when it is not there; `None` when there is no
/// room.
#[inline(always)]
pub fn entry_of<K, V: Default, const N: usize>(
    [first, second]: [&HashMap<K, V, N, NO_PREALLOC>; 2],
    mark: u64,
    key: &K,
) -> Option<*mut V> {
    const NOEXIST: u64 = 1;
    let is_second = pass::is_second(mark);
    let find = || if is_second { second.get_ptr_mut(key) } else { first.get_ptr_mut(key) };
    if let Some(entry) = find() {
        return Some(entry);
    }
    let empty = V::default();
    // Another CPU may put it in meanwhile, which is as good.
    let _ = if is_second { second.insert(key, &empty, NOEXIST) } else { first.insert(key, &empty, NOEXIST) };
    find()
}

/// Puts a time into the histogram of a key; `false` when there is no room for the key.
#[inline(always)]
pub fn observe<K>(map: &PerCpuHashMap<K, Latency, 1>, key: &K, ns: u64, first: u32) -> bool {
    const NOEXIST: u64 = 1;
    let mut found = map.get_ptr_mut(key);
    if found.is_none() {
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "on the stack it would take a third of all there is; it is zeros either way"
        )]
        let _ = map.insert(key, &ZEROS, NOEXIST);
        found = map.get_ptr_mut(key);
    }
    let Some(latency) = found else { return false };
    let index = latency::bucket(ns, first) as usize;
    // SAFETY: a value of this CPU; an interrupt that writes to the same one in between adds by itself as well.
    unsafe {
        add((&raw mut (*latency).counts).cast::<u64>().add(index), 1);
        add(&raw mut (*latency).sum_ns, ns);
    }
    true
}

static ZEROS: Latency = Latency { counts: [0; latency::BOUNDS + 1], sum_ns: 0 };

/// Flags for submitting to a ring: the reader comes by timer, and is woken only when the ring is half full.
/// A wake-up per event would cost sixty times the event itself.
#[inline(always)]
pub fn wakeup_flags<T, const BYTES: usize>(ring: &RingBuf<T, BYTES>) -> u64 {
    // SAFETY: the helper only reads counters of the map it is given.
    let filled = unsafe { bpf_ringbuf_query((&raw const *ring).cast_mut().cast(), AVAIL_DATA) };
    if filled >= BYTES as u64 / 2 { FORCE_WAKEUP } else { NO_WAKEUP }
}
