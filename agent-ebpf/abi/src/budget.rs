//! The maps of the kernel half: their sizes, and what they cost.
//!
//! One table, from which the kernel half takes its capacities and a test the sum. The formulas follow
//! `kernel/bpf/{hashtab,arraymap,ringbuf}.c`; a test on a real kernel compares them with what it charges.

use core::mem::size_of;

use crate::{
    block::{BioCounts, BioKey},
    codes::Loss,
    dns::AnswerRecord,
    files::FilesRun,
    latency::{DiskLatencyKey, Latency, RunQueueKey},
    process::{Exited, OwnerKey},
    tcp::Conn,
    udp,
};

/// What all maps together may take on an idle node, bytes.
pub const BUDGET_BYTES: u64 = 16 << 20;

/// Bytes of the event ring: 5,461 TCP events of 184 bytes and their headers of 8, drained every 100 ms or at half.
pub const EVENTS_BYTES: usize = 1 << 20;

/// Connections tracked at once: eight times what design.md measures with. Entries are allocated when used.
pub const CONNS_MAX: usize = 1 << 17;

/// Connections tracked at once where only the plain tracepoint can be used; see `CONN_BY_SOCK_TP`.
pub const CONNS_TRACEPOINT_MAX: u32 = 1 << 14;

/// Owners of threads that ended between two passes without having been listed. Entries are allocated when used.
pub const EXITED_MAX: usize = 4096;

/// Threads that the OOM killer has chosen and that have yet to end. It chooses one at a time per memory cgroup.
pub const VICTIMS_MAX: usize = 256;

/// Processes that used UDP since the agent last looked, and those that still might. Entries are allocated when used.
pub const UDP_OWNERS_MAX: usize = 1 << 14;

/// Pairs of addresses that datagrams go between, of the time between two readings; those beyond are one sum. There are
/// two maps, and entries are allocated when used.
pub const UDP_PEERS_MAX: usize = 1 << 13;

/// Bytes of the ring of DNS answers: some 1,500 of 170 bytes, drained every 100 ms. It is one of its own so that a flood
/// of answers costs no other event.
pub const ANSWERS_BYTES: usize = 1 << 18;

/// Pairs of an owner and a disk with I/O between two passes, where the kernel half counts it.
pub const BIOS_MAX: u32 = 4096;

/// Bytes that an optional probe's map of histograms may take: what fits is the number of cgroups, at most
/// [`RUN_QUEUE_MAX`].
pub const RUN_QUEUE_BYTES: usize = 8 << 20;

/// Cgroups whose waiting for a CPU is kept at once, where that is asked for.
pub const RUN_QUEUE_MAX: usize = 4096;

/// Disks times two whose requests are kept at once, where that is asked for.
pub const DISK_LATENCY_MAX: usize = 256;

/// Reasons for dropping a packet, where they are asked for: the kernel's own, of which there are about 120. What its
/// subsystems number for themselves is counted under 0.
pub const DROPS_MAX: usize = 256;

/// Cgroups whose waiting for a CPU fits.
pub const fn run_queue_entries(cpus: usize) -> usize {
    let fit = RUN_QUEUE_BYTES / (size_of::<Latency>() * cpus);
    if fit > RUN_QUEUE_MAX {
        RUN_QUEUE_MAX
    } else if fit < 256 {
        256
    } else {
        fit
    }
}

/// Slots for losses.
pub const LOSSES_MAX: usize = Loss::ALL.len();

/// How a map takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Buckets at creation, elements when used (`BPF_F_NO_PREALLOC`).
    HashOnDemand,
    /// All at creation.
    HashAtOnce,
    /// All at creation.
    Array,
    /// All at creation, once per CPU.
    PerCpuArray,
    /// All at creation, values once per CPU.
    PerCpuHash,
    /// All at creation.
    Ring,
}

/// A map's cost.
#[derive(Clone, Copy, Debug)]
pub struct MapCost {
    /// Name in the object.
    pub name: &'static str,
    /// How it takes memory.
    pub shape: Shape,
    /// Bytes of a key.
    pub key: usize,
    /// Bytes of a value.
    pub value: usize,
    /// Capacity: entries, or bytes of a ring.
    pub max_entries: usize,
}

/// All maps.
pub const MAPS: &[MapCost] = &[
    MapCost { name: "EVENTS", shape: Shape::Ring, key: 0, value: 0, max_entries: EVENTS_BYTES },
    MapCost {
        name: "CONN_BY_SOCK",
        shape: Shape::HashOnDemand,
        key: 8,
        value: size_of::<Conn>(),
        max_entries: CONNS_MAX,
    },
    // One entry, unless the loader must fall back to the plain tracepoint: then 2 MB.
    MapCost {
        name: "CONN_BY_SOCK_TP",
        shape: Shape::HashAtOnce,
        key: 8,
        value: size_of::<Conn>(),
        max_entries: 1,
    },
    exited("EXITED_A"),
    exited("EXITED_B"),
    // One entry, unless cgroup files do not count I/O: then 64 kB each.
    bios("BIOS_A"),
    bios("BIOS_B"),
    // One entry each, unless configuration asks for these probes.
    latency("RUN_QUEUE", size_of::<RunQueueKey>()),
    latency("DISK_LATENCY", size_of::<DiskLatencyKey>()),
    MapCost { name: "DROPS", shape: Shape::PerCpuArray, key: 4, value: 8, max_entries: 1 },
    MapCost { name: "VICTIMS", shape: Shape::HashAtOnce, key: 4, value: 4, max_entries: VICTIMS_MAX },
    MapCost { name: "PASS", shape: Shape::Array, key: 4, value: 8, max_entries: 1 },
    MapCost {
        name: "UDP_BY_OWNER",
        shape: Shape::HashOnDemand,
        key: size_of::<udp::OwnerKey>(),
        value: size_of::<udp::Totals>(),
        max_entries: UDP_OWNERS_MAX,
    },
    peers("UDP_PEERS_A"),
    peers("UDP_PEERS_B"),
    MapCost {
        name: "UDP_PEERS_REST",
        shape: Shape::PerCpuArray,
        key: 4,
        value: size_of::<udp::PeerBytes>(),
        max_entries: 1,
    },
    MapCost { name: "UDP_PEERS_TURN", shape: Shape::Array, key: 4, value: 8, max_entries: 1 },
    MapCost { name: "ANSWERS", shape: Shape::Ring, key: 0, value: 0, max_entries: ANSWERS_BYTES },
    MapCost {
        name: "ANSWER",
        shape: Shape::PerCpuArray,
        key: 4,
        value: size_of::<AnswerRecord>(),
        max_entries: 1,
    },
    MapCost { name: "FILES_RUN", shape: Shape::Array, key: 4, value: size_of::<FilesRun>(), max_entries: 1 },
    MapCost { name: "LOSSES", shape: Shape::PerCpuArray, key: 4, value: 8, max_entries: LOSSES_MAX },
];

/// One of the two maps of threads that ended.
const fn exited(name: &'static str) -> MapCost {
    let (key, value) = (size_of::<OwnerKey>(), size_of::<Exited>());
    MapCost { name, shape: Shape::HashOnDemand, key, value, max_entries: EXITED_MAX }
}

/// One of the two maps of I/O.
const fn bios(name: &'static str) -> MapCost {
    let (key, value) = (size_of::<BioKey>(), size_of::<BioCounts>());
    MapCost { name, shape: Shape::HashOnDemand, key, value, max_entries: 1 }
}

/// One of the two maps of datagrams by their ends.
const fn peers(name: &'static str) -> MapCost {
    let (key, value) = (size_of::<udp::PeerKey>(), size_of::<udp::PeerBytes>());
    MapCost { name, shape: Shape::HashOnDemand, key, value, max_entries: UDP_PEERS_MAX }
}

/// A map of histograms.
const fn latency(name: &'static str, key: usize) -> MapCost {
    MapCost { name, shape: Shape::PerCpuHash, key, value: size_of::<Latency>(), max_entries: 1 }
}

impl MapCost {
    /// Bytes taken when the map is empty.
    pub const fn idle_bytes(&self, cpus: usize) -> u64 {
        let bytes = match self.shape {
            // struct bucket is 16 bytes, one per entry rounded up to a power of two.
            Shape::HashOnDemand => self.max_entries.next_power_of_two() * 16,
            // Elements for every entry, and spare ones per CPU (`prealloc_init`).
            Shape::HashAtOnce => {
                self.max_entries.next_power_of_two() * 16 + (self.max_entries + cpus) * self.element_bytes()
            }
            // An element holds a pointer to its values; there are no spare ones (`htab_has_extra_elems`).
            Shape::PerCpuHash => {
                let element = 48 + self.key.next_multiple_of(8) + 8 + self.value.next_multiple_of(8) * cpus;
                self.max_entries.next_power_of_two() * 16 + self.max_entries * element
            }
            Shape::Array => self.max_entries * self.value.next_multiple_of(8),
            Shape::PerCpuArray => self.max_entries * (8 + self.value.next_multiple_of(8) * cpus),
            Shape::Ring => self.max_entries + 3 * 4096,
        };
        bytes as u64
    }

    /// struct htab_elem is 48 bytes before key and value.
    const fn element_bytes(&self) -> usize {
        48 + self.key.next_multiple_of(8) + self.value.next_multiple_of(8)
    }

    /// Bytes taken when the map is full.
    pub const fn full_bytes(&self, cpus: usize) -> u64 {
        let elements = match self.shape {
            Shape::HashOnDemand => self.max_entries * self.element_bytes(),
            Shape::HashAtOnce | Shape::Array | Shape::PerCpuArray | Shape::PerCpuHash | Shape::Ring => 0,
        };
        self.idle_bytes(cpus) + elements as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_maps_together_stay_within_the_budget() {
        let idle: u64 = MAPS.iter().map(|map| map.idle_bytes(256)).sum();
        assert!(idle <= BUDGET_BYTES, "{idle} bytes of maps on an idle node with 256 CPUs");
        let full: u64 = MAPS.iter().map(|map| map.full_bytes(256)).sum();
        assert!(full <= 2 * BUDGET_BYTES, "{full} bytes of maps with every entry used");
    }

    #[test]
    fn a_ring_is_a_power_of_two_of_whole_pages() {
        for bytes in [EVENTS_BYTES, ANSWERS_BYTES] {
            assert!(bytes.is_power_of_two() && bytes.is_multiple_of(4096));
        }
    }
}
