//! Flows: per workload and peer, the counters that become series.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::model::{BootNanos, Counters, WorkloadIx};

/// Which side of the workload a flow is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The workload connects.
    Outbound,
    /// The workload accepts; the peer is the workload's own listening address.
    Inbound,
}

/// What a flow leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// The address the workload asked for, and the one it got: different behind address translation.
    Address {
        /// Asked for.
        destination: SocketAddr,
        /// Got.
        actual: SocketAddr,
    },
    /// Everything beyond the workload's cap, in one.
    Overflow,
}

impl Peer {
    /// A peer without address translation.
    pub const fn direct(address: SocketAddr) -> Self {
        Self::Address { destination: address, actual: address }
    }
}

/// Identity of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Whose.
    pub workload: WorkloadIx,
    /// Which side.
    pub direction: Direction,
    /// To what.
    pub peer: Peer,
}

/// Counters of a flow. All but `active` only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// Connections established.
    pub established: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Time in handshakes, nanoseconds.
    pub connect_ns: u64,
    /// Connections open now.
    pub active: u64,
    /// Traffic; `None` until something measured it.
    pub traffic: Option<Counters>,
    /// When anything last happened.
    pub last: BootNanos,
}

impl Flow {
    /// Adds what a connection's counters grew by since `before`.
    pub fn add(&mut self, before: &Counters, now: &Option<Counters>) {
        let Some(now) = now else { return };
        let traffic = self.traffic.get_or_insert_default();
        traffic.sent += now.sent.saturating_sub(before.sent);
        traffic.received += now.received.saturating_sub(before.received);
        traffic.retransmits += now.retransmits.saturating_sub(before.retransmits);
    }
}

impl Flow {
    /// Adds all that another flow counted.
    fn merge(&mut self, other: &Self) {
        self.established += other.established;
        self.failed += other.failed;
        self.connect_ns += other.connect_ns;
        self.active += other.active;
        self.add(&Counters::default(), &other.traffic);
        self.last = self.last.max(other.last);
    }
}

/// All flows, bounded per workload.
#[derive(Debug)]
pub struct Flows {
    flows: HashMap<FlowKey, Flow>,
    per_workload: HashMap<WorkloadIx, usize>,
    max_per_workload: usize,
    folded: u64,
}

impl Flows {
    /// A table that holds at most `max_per_workload` flows of one workload beside its overflow.
    pub fn new(max_per_workload: usize) -> Self {
        Self { flows: HashMap::new(), per_workload: HashMap::new(), max_per_workload, folded: 0 }
    }

    /// The key under which a flow is counted: its own, or the overflow's once the workload has its share.
    pub fn admit(&mut self, key: FlowKey) -> FlowKey {
        if self.flows.contains_key(&key) {
            return key;
        }
        let count = self.per_workload.entry(key.workload).or_default();
        if key.peer != Peer::Overflow && *count >= self.max_per_workload {
            self.folded += 1;
            return self.admit(FlowKey { peer: Peer::Overflow, ..key });
        }
        *count += 1;
        self.flows.insert(key, Flow::default());
        key
    }

    /// A flow that was admitted; makes it anew if it was dropped meanwhile.
    pub fn at(&mut self, key: FlowKey, now: BootNanos) -> &mut Flow {
        let per_workload = &mut self.per_workload;
        let flow = self.flows.entry(key).or_insert_with(|| {
            *per_workload.entry(key.workload).or_default() += 1;
            Flow::default()
        });
        flow.last = flow.last.max(now);
        flow
    }

    /// All flows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&FlowKey, &Flow)> {
        self.flows.iter()
    }

    /// Whether there is such a flow.
    pub fn contains(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// How often a new flow was folded into an overflow.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// Drops flows in which nothing is open and nothing happened since `before`.
    pub fn drop_idle(&mut self, before: BootNanos) {
        self.retain(|_, flow| flow.active > 0 || flow.last >= before);
    }

    /// Drops all flows of some workloads.
    pub fn drop_workloads(&mut self, workloads: &HashSet<WorkloadIx>) {
        self.retain(|key, _| !workloads.contains(&key.workload));
    }

    /// Moves the flows of a workload to another one, where equal ones add up; returns the new keys by the old ones.
    pub fn merge_workload(&mut self, from: WorkloadIx, into: WorkloadIx) -> HashMap<FlowKey, FlowKey> {
        let mut moved: Vec<FlowKey> = self.flows.keys().filter(|key| key.workload == from).copied().collect();
        moved.sort_unstable();
        self.per_workload.remove(&from);
        let mut new_keys = HashMap::with_capacity(moved.len());
        for old in moved {
            let Some(flow) = self.flows.remove(&old) else { continue };
            let new = self.admit(FlowKey { workload: into, ..old });
            self.at(new, flow.last).merge(&flow);
            new_keys.insert(old, new);
        }
        new_keys
    }

    fn retain(&mut self, mut keep: impl FnMut(&FlowKey, &Flow) -> bool) {
        let per_workload = &mut self.per_workload;
        self.flows.retain(|key, flow| {
            let kept = keep(key, flow);
            if !kept && let Some(count) = per_workload.get_mut(&key.workload) {
                *count -= 1;
            }
            kept
        });
        per_workload.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(workload: u32, port: u16) -> FlowKey {
        let peer = Peer::direct(SocketAddr::from(([10, 0, 0, 1], port)));
        FlowKey { workload: WorkloadIx(workload), direction: Direction::Outbound, peer }
    }

    #[test]
    fn beyond_the_cap_everything_is_one_flow_and_counted() {
        let mut flows = Flows::new(2);
        for port in 1..=100 {
            let admitted = flows.admit(key(1, port));
            flows.at(admitted, BootNanos(1)).established += 1;
        }
        assert_eq!((flows.len(), flows.folded()), (3, 98));
        let total: u64 = flows.iter().map(|(_, flow)| flow.established).sum();
        assert_eq!(total, 100, "nothing is lost by folding");
        assert_eq!(flows.admit(key(1, 2)), key(1, 2), "an old flow stays itself");
        assert_eq!(flows.admit(key(2, 9)), key(2, 9), "another workload has its own share");
    }

    #[test]
    fn flows_of_merged_workloads_add_up() {
        let mut flows = Flows::new(2);
        for (workload, port) in [(1, 1), (2, 1), (2, 2), (2, 3)] {
            let admitted = flows.admit(key(workload, port));
            let flow = flows.at(admitted, BootNanos(u64::from(port)));
            (flow.established, flow.active) = (10, 1);
            flow.traffic = (port == 1).then_some(Counters { sent: 5, received: 6, retransmits: 7 });
        }
        let moved = flows.merge_workload(WorkloadIx(2), WorkloadIx(1));
        assert_eq!((moved[&key(2, 1)], moved[&key(2, 2)]), (key(1, 1), key(1, 2)));
        let flow = |port| flows.iter().find(|(other, _)| **other == key(1, port)).unwrap().1.clone();
        assert_eq!((flow(1).established, flow(1).active), (20, 2));
        assert_eq!(flow(1).traffic, Some(Counters { sent: 10, received: 12, retransmits: 14 }));
        assert_eq!((flow(2).established, flow(2).traffic), (10, None), "not measured stays so");
        let total: u64 = flows.iter().map(|(_, flow)| flow.established).sum();
        assert_eq!((total, flows.len()), (40, 3), "the overflow moves as well");
        assert_eq!(flows.per_workload, HashMap::from([(WorkloadIx(1), 3)]));
    }

    #[test]
    fn idle_flows_go_and_make_room() {
        let mut flows = Flows::new(1);
        let first = flows.admit(key(1, 1));
        flows.at(first, BootNanos(5)).active = 1;
        flows.drop_idle(BootNanos(100));
        assert_eq!(flows.len(), 1, "something is open in it");
        flows.at(first, BootNanos(50)).active = 0;
        flows.drop_idle(BootNanos(100));
        assert!(flows.is_empty() && flows.per_workload.is_empty());
        assert_eq!(flows.admit(key(1, 2)), key(1, 2));
    }
}
