//! What passes through leaves no memory behind.

use std::net::Ipv4Addr;

use super::tests::{limits, socket, with};
use super::*;
use crate::model::{Backlog, Failure, RoundTrip};
use crate::shares::Shares;
use crate::state::Caps;

const CAPS: Caps = Caps { workload: 100, node: 450 };

fn tables() -> Connections {
    Connections::new(limits(CAPS))
}

fn remote(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + number), 443))
}

/// One connection from start to end, or one failure.
fn pass_through(tables: &mut Connections, number: u32, owner: WorkloadIx) {
    let id = u64::from(number);
    let at = |kind| TcpSocket { remote: remote(number), ..socket(kind, id, id) };
    if number.is_multiple_of(10) {
        let failed = TcpSocket { failure: Failure::Refused, ..at(SocketKind::ConnectFailed) };
        return tables.handle(failed, Some(owner), &mut ());
    }
    tables.handle(at(SocketKind::Connected), Some(owner), &mut ());
    let round_trip = Some(RoundTrip { srtt_us: 250, min_us: Some(200) });
    tables.handle(with((3, 4), TcpSocket { round_trip, ..at(SocketKind::Closed) }), Some(owner), &mut ());
}

#[test]
fn a_million_peers_take_the_memory_of_the_caps() {
    const PEERS: u32 = 1_000_000;
    const OWNERS: u32 = 5;
    let mut tables = tables();
    let mut most = 0;
    for number in 0..PEERS {
        pass_through(&mut tables, number, WorkloadIx(number % OWNERS));
        most = most.max(tables.capacity());
    }
    // Every workload has its overflow beside the shares.
    let rows = CAPS.node + OWNERS as usize;
    assert_eq!((tables.flows().len(), tables.is_empty()), (rows, true));
    // Multiples of ten fall to one workload in five.
    assert_eq!(tables.failures().len(), CAPS.workload + 1);
    assert_eq!(tables.round_trips().iter().count(), CAPS.node);
    assert!(most < 10 * rows, "memory for {most} entries was held");
    let folded = tables.stats().flows_folded;
    assert!(folded.workload > 0 && folded.node > 0, "both caps were met: {folded:?}");
    let established: u64 = tables.flows().iter().map(|(_, flow)| flow.established).sum();
    let failed: u64 = tables.failures().iter().map(|(_, counts)| counts.total()).sum();
    assert_eq!((established, failed), (u64::from(PEERS) * 9 / 10, u64::from(PEERS) / 10));
    tables.collect_garbage(BootNanos(u64::MAX), &[]);
    assert_eq!(tables.flows().len() + tables.failures().len(), 0);
    assert!(tables.capacity() < 600, "memory for {} entries is still held", tables.capacity());
}

#[test]
fn a_hundred_thousand_owners_come_and_go() {
    const OWNERS: u32 = 100_000;
    const ALIVE: u32 = 200;
    let mut tables = tables();
    let mut most = 0;
    for number in 0..OWNERS {
        pass_through(&mut tables, number, WorkloadIx(number));
        if number % ALIVE == ALIVE - 1 {
            most = most.max(tables.capacity());
            let retired: Vec<_> = (number + 1 - ALIVE..=number).map(WorkloadIx).collect();
            tables.collect_garbage(BootNanos(0), &retired);
            assert_eq!(tables.flows().len() + tables.failures().len(), 0);
            assert_eq!(tables.round_trips().iter().count(), 0);
        }
    }
    assert!(most < 20 * ALIVE as usize, "memory for {most} entries was held");
    assert!(tables.capacity() < 600, "memory for {} entries is still held", tables.capacity());
}

#[test]
fn peers_of_open_connections_take_round_trips_of_the_caps() {
    const OPEN: u32 = 1000;
    // The first has most of them, four others some.
    let owner = |number: u32| Some(WorkloadIx((number % 10).saturating_sub(5)));
    let mut tables = tables();
    let mut most = 0;
    for pass in 1..=100 {
        let numbers = pass * OPEN..(pass + 1) * OPEN;
        let at = |kind, number: u32| TcpSocket {
            remote: remote(number),
            round_trip: Some(RoundTrip { srtt_us: 250, min_us: None }),
            ..with((3, 4), socket(kind, number.into(), pass.into()))
        };
        tables.begin_pass();
        for number in numbers.clone() {
            tables.handle(at(SocketKind::Connected, number), owner(number), &mut ());
            tables.handle(at(SocketKind::Open, number), owner(number), &mut ());
        }
        let of_first = tables.round_trips().iter().filter(|(owner, ..)| *owner == WorkloadIx(0));
        assert!(of_first.count() <= CAPS.workload);
        assert!(tables.round_trips().iter().count() <= CAPS.node);
        tables.finish_pass(BootNanos(pass.into()), &mut ());
        most = most.max(tables.round_trips().capacity());
        for number in numbers {
            tables.handle(at(SocketKind::Closed, number), owner(number), &mut ());
        }
    }
    assert!(most < 4 * CAPS.node, "memory for {most} entries was held");
    let folded = tables.stats().round_trips_folded;
    assert!(folded.workload > 0 && folded.node > 0, "both caps were met: {folded:?}");
    tables.begin_pass();
    tables.finish_pass(BootNanos(1000), &mut ());
    assert!(tables.round_trips().iter().count() <= CAPS.node);
    tables.collect_garbage(BootNanos(1000), &[]);
    assert_eq!(tables.round_trips().iter().count(), 0);
    assert!(tables.round_trips().capacity() < 200);
}

#[test]
fn a_container_that_does_everything_keeps_to_its_shares() {
    const MANY: u32 = 2000;
    let shares = Shares::new(1000, 1_000_000);
    let Shares { flows, failures, round_trips, backlogs, .. } = shares;
    let listeners = MANY as usize;
    let caps = Limits { flows, failures, round_trips, backlogs, listeners, ..limits(CAPS) };
    let (mut tables, owner) = (Connections::new(caps), WorkloadIx(1));
    for number in 0..MANY {
        pass_through(&mut tables, number, owner);
        let local = SocketAddr::from((Ipv4Addr::from_bits(0x7f00_0000 + number), 80));
        let sock = u64::from(MANY + number);
        let queue = Some(Backlog { length: 1, max: 2, drops: 3 });
        let listening = TcpSocket { local, backlog: queue, ..socket(SocketKind::Listening, sock, 1) };
        tables.handle(listening, Some(owner), &mut ());
        let accepted =
            TcpSocket { role: Role::Inbound, local, ..socket(SocketKind::Accepted, sock + 10_000, 1) };
        tables.handle(accepted, Some(owner), &mut ());
    }
    tables.finish_pass(BootNanos(0), &mut ());
    // Besides the shares, the rows of everything beyond: of destinations, and of addresses accepted on.
    assert_eq!(tables.flows().len(), flows.workload + 2);
    assert_eq!(tables.failures().len(), failures.workload + 1);
    assert_eq!(tables.backlogs().len(), backlogs.workload + 1);
    assert_eq!(tables.round_trips().iter().count(), round_trips.workload);
}
