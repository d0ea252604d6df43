use std::collections::HashSet;

use super::*;
use crate::model::BootNanos;
use crate::state::table::Caps;

const CAPS: Caps = Caps { workload: 2, node: 1000 };

fn key(workload: u32, port: u16) -> FlowKey {
    let peer = Peer::direct(SocketAddr::from(([10, 0, 0, 1], port)));
    FlowKey { workload: WorkloadIx(workload), direction: Direction::Outbound, peer }
}

fn established(flows: &Flows) -> u64 {
    flows.iter().map(|(_, flow)| flow.established).sum()
}

#[test]
fn beyond_the_cap_everything_is_one_flow_and_counted() {
    let mut flows = Flows::new(CAPS);
    for port in 1..=100 {
        let admitted = flows.admit(key(1, port));
        flows.at(admitted, BootNanos(1)).establish(7);
    }
    assert_eq!((flows.len(), flows.folded().workload), (3, 98));
    assert_eq!(established(&flows), 100, "nothing is lost by folding");
    assert_eq!(flows.admit(key(1, 2)), key(1, 2), "an old flow stays itself");
    assert_eq!(flows.admit(key(2, 9)), key(2, 9), "another workload has its own share");
}

#[test]
fn the_node_has_a_cap_as_well() {
    let mut flows = Flows::new(Caps { workload: 10, node: 3 });
    for workload in 1..=4 {
        let admitted = flows.admit(key(workload, 1));
        flows.at(admitted, BootNanos(1)).establish(0);
    }
    assert_eq!((flows.len(), flows.folded()), (4, crate::state::Folded { workload: 0, node: 1 }));
    assert!(flows.contains(&FlowKey { peer: Peer::Overflow, ..key(4, 1) }));
    flows.drop_workloads(&HashSet::from([WorkloadIx(1)]));
    assert_eq!(flows.admit(key(4, 1)), key(4, 1), "there is room again");
}

#[test]
fn flows_of_merged_workloads_add_up() {
    let mut flows = Flows::new(CAPS);
    for (workload, port) in [(1, 1), (2, 1), (2, 2), (2, 3)] {
        let admitted = flows.admit(key(workload, port));
        let flow = flows.at(admitted, BootNanos(u64::from(port)));
        flow.establish(2_000_000);
        flow.active = 1;
        flow.end(End::ResetReceived);
        flow.traffic = (port == 1).then_some(Counters { sent: 5, received: 6, retransmits: 7 });
    }
    let moved = flows.merge_workload(WorkloadIx(2), WorkloadIx(1));
    assert_eq!((moved[&key(2, 1)], moved[&key(2, 2)]), (key(1, 1), key(1, 2)));
    let flow = |port| flows.iter().find(|(other, _)| **other == key(1, port)).unwrap().1.clone();
    assert_eq!((flow(1).established, flow(1).active, flow(1).resets_received), (2, 2, 2));
    assert_eq!(flow(1).traffic, Some(Counters { sent: 10, received: 12, retransmits: 14 }));
    assert_eq!(flow(1).connect_times.unwrap().cumulative().nth(3), Some((0.005, 2)));
    assert_eq!((flow(2).established, flow(2).traffic), (1, None), "not measured stays so");
    assert_eq!((established(&flows), flows.len()), (4, 3), "the overflow moves as well");
}

#[test]
fn idle_flows_go_and_make_room() {
    let mut flows = Flows::new(Caps { workload: 1, node: 1 });
    let first = flows.admit(key(1, 1));
    flows.at(first, BootNanos(5)).active = 1;
    flows.drop_idle(BootNanos(100));
    assert_eq!(flows.len(), 1, "something is open in it");
    flows.at(first, BootNanos(50)).active = 0;
    flows.drop_idle(BootNanos(100));
    assert!(flows.is_empty());
    assert_eq!(flows.admit(key(1, 2)), key(1, 2));
}

#[test]
fn a_handshake_counts_in_its_bucket_and_an_unseen_one_in_none() {
    let mut flow = Flow::default();
    flow.establish(0);
    assert_eq!(flow.connect_times, None);
    flow.establish(1_050_000_000);
    let times = flow.connect_times.unwrap();
    assert_eq!((flow.established, times.count()), (2, 1));
    let lost_once: Vec<_> = times.cumulative().filter(|(_, count)| *count == 1).map(|(le, _)| le).collect();
    assert_eq!(lost_once, [3.0, 7.0, 60.0]);
}
