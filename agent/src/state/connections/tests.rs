mod lost;
mod passes;

use proptest::prelude::*;

use super::*;
use crate::model::{End, Failure, HostPid, Origin, RoundTrip};
use crate::state::Caps;
use std::net::IpAddr;

pub(super) const CLIENT: WorkloadIx = WorkloadIx(1);
pub(super) const SERVER: WorkloadIx = WorkloadIx(2);

pub(super) fn tables() -> Connections {
    Connections::new(limits(Caps { workload: 100, node: 1000 }))
}

/// The same caps for every table.
pub(super) fn limits(caps: Caps) -> Limits {
    Limits {
        loopback_of: None,
        connections: 1000,
        flows: caps,
        failures: caps,
        backlogs: caps,
        round_trips: caps,
        listeners: 10,
        ephemeral_ports: None,
    }
}

pub(super) fn socket(kind: SocketKind, sock: u64, at: u64) -> TcpSocket {
    TcpSocket {
        kind,
        id: SocketId { sock, born: BootNanos(1) },
        at: BootNanos(at),
        role: Role::Outbound,
        adopted: false,
        local: "10.0.0.1:40000".parse().unwrap(),
        remote: "10.0.0.2:80".parse().unwrap(),
        asked: None,
        actual: None,
        name: None,
        netns: NetnsId(1),
        origin: None,
        connect_ns: 0,
        failure: Failure::Other,
        end: End::Orderly,
        counters: None,
        round_trip: None,
        backlog: None,
    }
}

pub(super) fn with(counted: (u64, u64), socket: TcpSocket) -> TcpSocket {
    TcpSocket { counters: Some(Counters { sent: counted.0, received: counted.1, retransmits: 0 }), ..socket }
}

pub(super) fn listener(sock: u64, address: &str, at: u64) -> TcpSocket {
    let origin = Origin {
        pid: HostPid(7),
        v2: crate::model::CgroupId(0),
        v1: crate::model::CgroupId(0),
        comm: "".into(),
    };
    TcpSocket {
        local: address.parse().unwrap(),
        origin: Some(origin),
        ..socket(SocketKind::Listening, sock, at)
    }
}

/// Established, failed, active, bytes sent and received of the only flow of a workload.
fn only(tables: &Connections, workload: WorkloadIx) -> (u64, u64, u64, u64, u64) {
    let flows: Vec<_> = tables.flows().iter().filter(|(key, _)| key.workload == workload).collect();
    let failed = tables.failures().iter().filter(|(key, _)| key.workload == workload);
    let failed = failed.map(|(_, counts)| counts.total()).sum();
    match flows.as_slice() {
        [] => (0, failed, 0, 0, 0),
        [(_, flow)] => {
            let traffic = flow.traffic.unwrap_or_default();
            (flow.established, failed, flow.active, traffic.sent, traffic.received)
        }
        _ => panic!("{} flows", flows.len()),
    }
}

#[test]
fn a_connection_is_counted_once_with_its_final_bytes() {
    let mut tables = tables();
    tables.handle(
        TcpSocket { connect_ns: 500, ..socket(SocketKind::Connected, 1, 10) },
        Some(CLIENT),
        &mut (),
    );
    assert_eq!(only(&tables, CLIENT), (1, 0, 1, 0, 0));
    tables.handle(with((100, 20), socket(SocketKind::Open, 1, 20)), Some(CLIENT), &mut ());
    tables.handle(with((150, 60), socket(SocketKind::Closed, 1, 30)), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (1, 0, 0, 150, 60));
    assert!(tables.is_empty());
}

#[test]
fn a_row_before_its_event_does_not_count_twice() {
    let mut tables = tables();
    tables.handle(with((5, 5), socket(SocketKind::Open, 1, 10)), Some(CLIENT), &mut ());
    tables.handle(socket(SocketKind::Connected, 1, 9), Some(CLIENT), &mut ());
    tables.handle(with((9, 9), socket(SocketKind::Closed, 1, 11)), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (1, 0, 0, 9, 9));
}

#[test]
fn failures_are_counted_apart() {
    let mut tables = tables();
    tables.handle(socket(SocketKind::ConnectFailed, 1, 10), Some(CLIENT), &mut ());
    tables.handle(socket(SocketKind::ConnectFailed, 1, 11), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (0, 2, 0, 0, 0));
    tables.handle(socket(SocketKind::ConnectFailed, 1, 12), None, &mut ());
    assert_eq!(tables.stats().unowned, 1);
}

#[test]
fn an_accepted_connection_belongs_to_its_listener() {
    let mut tables = tables();
    tables.handle(listener(9, "0.0.0.0:80", 1), Some(SERVER), &mut ());
    let accepted = |kind, at| TcpSocket {
        role: Role::Inbound,
        local: "10.0.0.2:80".parse().unwrap(),
        remote: "10.0.0.1:40000".parse().unwrap(),
        ..socket(kind, 5, at)
    };
    tables.handle(accepted(SocketKind::Accepted, 10), None, &mut ());
    tables.handle(with((3, 4), accepted(SocketKind::Closed, 11)), None, &mut ());
    assert_eq!(only(&tables, SERVER), (1, 0, 0, 3, 4));
}

#[test]
fn a_start_waits_for_its_owner() {
    let mut tables = tables();
    let start = TcpSocket { connect_ns: 7, ..socket(SocketKind::Connected, 1, 10) };
    tables.handle(start, None, &mut ());
    assert!(tables.flows().is_empty());
    tables.handle(with((5, 6), socket(SocketKind::Open, 1, 20)), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (1, 0, 1, 5, 6));
    let (_, flow) = tables.flows().iter().next().unwrap();
    assert_eq!(flow.connect_ns, 7);
}

#[test]
fn a_connection_of_which_only_the_end_is_known_belongs_to_its_listener() {
    let mut tables = tables();
    tables.handle(listener(9, "0.0.0.0:80", 1), Some(SERVER), &mut ());
    let local = "10.0.0.2:80".parse().unwrap();
    let closed = TcpSocket { role: Role::Inbound, local, ..socket(SocketKind::Closed, 5, 11) };
    tables.handle(with((3, 4), closed), None, &mut ());
    assert_eq!(only(&tables, SERVER), (1, 0, 0, 3, 4));
}

#[test]
fn an_accepted_connection_is_inbound_though_nobody_listens_at_its_address() {
    let mut tables = tables();
    let found = |sock, role, local: &str| TcpSocket {
        role,
        adopted: true,
        local: local.parse().unwrap(),
        ..socket(SocketKind::Open, sock, 10)
    };
    tables.handle(listener(9, "127.0.0.1:9000", 10), Some(SERVER), &mut ());
    // The kernel half sees that these are copies of a listener: one by a transparent proxy's rules, one of its own.
    tables.handle(found(1, Role::Inbound, "203.0.113.1:80"), Some(SERVER), &mut ());
    tables.handle(found(2, Role::Inbound, "127.0.0.1:9000"), Some(SERVER), &mut ());
    tables.handle(found(3, Role::Unknown, "127.0.0.1:9000"), Some(SERVER), &mut ());
    tables.handle(found(4, Role::Unknown, "127.0.0.1:40000"), Some(SERVER), &mut ());
    tables.finish_pass(BootNanos(10), &mut ());
    let accepted = socket(SocketKind::Accepted, 5, 11);
    let local = "203.0.113.2:80".parse().unwrap();
    tables.handle(TcpSocket { role: Role::Inbound, local, ..accepted }, Some(SERVER), &mut ());
    let active = |direction, peer| {
        tables
            .flows()
            .iter()
            .find(|(key, _)| key.direction == direction && key.peer == peer)
            .map(|(_, flow)| flow.active)
    };
    assert_eq!(active(Direction::Inbound, Peer::Overflow), Some(2));
    assert_eq!(active(Direction::Inbound, Peer::direct("127.0.0.1:9000".parse().unwrap())), Some(2));
    assert_eq!(tables.flows().iter().filter(|(key, _)| key.direction == Direction::Outbound).count(), 1);
}

#[test]
fn ephemeral_ports_are_folded() {
    let ephemeral_ports = Some(32768..=60999);
    let limits = Limits { ephemeral_ports, ..limits(Caps { workload: 10, node: 100 }) };
    let mut tables = Connections::new(limits);
    for port in [40000, 40001, 40002] {
        let remote = SocketAddr::from(([10, 0, 0, 2], port));
        tables.handle(
            TcpSocket { remote, ..socket(SocketKind::Connected, port.into(), 10) },
            Some(CLIENT),
            &mut (),
        );
    }
    assert_eq!(only(&tables, CLIENT), (3, 0, 3, 0, 0));
}

/// Adds everything up: connections, bytes sent, bytes received.
#[derive(Debug, Default, PartialEq)]
struct Sum(u64, u64, u64);

impl Totals for Sum {
    fn add(&mut self, _: IpAddr, sent: u64, received: u64) {
        self.1 += sent;
        self.2 += received;
    }

    fn add_connection(&mut self, _: IpAddr, _: Direction) {
        self.0 += 1;
    }
}

#[test]
fn a_flow_has_the_address_asked_for_and_the_one_behind_it() {
    let mut tables = tables();
    let [asked, actual] = ["10.96.0.1:443", "10.0.7.7:6443"].map(|address| Some(address.parse().unwrap()));
    let start = TcpSocket { asked, actual, ..socket(SocketKind::Connected, 1, 10) };
    tables.handle(start, Some(CLIENT), &mut ());
    tables.handle(
        TcpSocket { asked, actual, ..socket(SocketKind::ConnectFailed, 2, 10) },
        Some(CLIENT),
        &mut (),
    );
    let flows: Vec<_> = tables.flows().iter().map(|(key, flow)| (key.peer, flow.established)).collect();
    let (destination, actual) = (asked.unwrap(), actual.unwrap());
    assert_eq!(flows, [(Peer::Address { destination, actual }, 1)]);
    let failures: Vec<_> = tables.failures().iter().map(|(key, counts)| (key.peer, counts.total())).collect();
    assert_eq!(failures, [(Peer::direct(destination), 1)]);
}

#[test]
fn failures_have_a_reason_each() {
    let mut tables = tables();
    for failure in [Failure::Refused, Failure::TimedOut, Failure::Refused] {
        let failed = TcpSocket { failure, ..socket(SocketKind::ConnectFailed, 1, 10) };
        tables.handle(failed, Some(CLIENT), &mut ());
    }
    let (_, counts) = tables.failures().iter().next().unwrap();
    assert_eq!(counts.iter().collect::<Vec<_>>(), [(Failure::Refused, 2), (Failure::TimedOut, 1)]);
}

#[test]
fn an_end_by_reset_is_counted_by_side() {
    let mut tables = tables();
    for (sock, end) in [(1, End::ResetReceived), (2, End::ResetSent), (3, End::Orderly), (4, End::ResetSent)]
    {
        if sock != 4 {
            tables.handle(socket(SocketKind::Connected, sock, 10), Some(CLIENT), &mut ());
        }
        tables.handle(TcpSocket { end, ..socket(SocketKind::Closed, sock, 11) }, Some(CLIENT), &mut ());
    }
    let (_, flow) = tables.flows().iter().next().unwrap();
    assert_eq!((flow.established, flow.resets_received, flow.resets_sent), (4, 1, 2));
}

#[test]
fn round_trips_are_of_the_backend_behind_a_service() {
    let mut tables = tables();
    let seen = RoundTrip { srtt_us: 250, min_us: Some(200) };
    let backend: SocketAddr = "10.0.1.7:8080".parse().unwrap();
    let started = TcpSocket { actual: Some(backend), ..socket(SocketKind::Connected, 1, 10) };
    tables.handle(started, Some(CLIENT), &mut ());
    tables.begin_pass();
    // Rows of the pass know of no translation.
    let row = TcpSocket { round_trip: Some(seen), ..socket(SocketKind::Open, 1, 20) };
    tables.handle(with((1, 1), row), Some(CLIENT), &mut ());
    let found: Vec<_> = tables.round_trips().iter().collect();
    assert_eq!(found, [(CLIENT, backend.ip(), seen)]);
}

#[test]
fn totals_have_what_nobody_owns_and_what_is_folded() {
    let limits = Limits { flows: Caps { workload: 0, node: 0 }, ..tables().limits };
    let (mut tables, mut totals) = (Connections::new(limits), Sum::default());
    for owner in [None, Some(CLIENT)] {
        let sock = u64::from(owner.is_some());
        tables.handle(socket(SocketKind::Connected, sock, 10), owner, &mut totals);
        tables.handle(with((5, 6), socket(SocketKind::Open, sock, 11)), owner, &mut totals);
        tables.handle(with((7, 8), socket(SocketKind::Closed, sock, 12)), owner, &mut totals);
        tables.handle(with((70, 80), socket(SocketKind::Closed, sock + 2, 12)), owner, &mut totals);
    }
    assert_eq!(totals, Sum(4, 154, 176));
    assert_eq!(tables.stats().unowned, 2);
}

proptest! {
    /// Whatever the interleaving of rows and events: one connection, its final bytes, nothing left open.
    #[test]
    fn every_byte_is_counted_once(steps in prop::collection::vec((0..1000u64, 0..1000u64), 0..20), start in 0..20usize) {
        let (mut tables, mut totals) = (tables(), Sum::default());
        let mut total = (0, 0);
        for (index, (sent, received)) in steps.iter().enumerate() {
            if index == start {
                tables.handle(socket(SocketKind::Connected, 1, 10), Some(CLIENT), &mut totals);
            }
            total = (total.0 + sent, total.1 + received);
            tables.handle(with(total, socket(SocketKind::Open, 1, 10 + index as u64)), Some(CLIENT), &mut totals);
            // The row that comes first leaves the word to the event, which knows more.
            if index > 0 || start == 0 {
                prop_assert_eq!(only(&tables, CLIENT).3, total.0);
                prop_assert_eq!(totals.1, total.0);
            }
        }
        if start >= steps.len() {
            tables.handle(socket(SocketKind::Connected, 1, 10), Some(CLIENT), &mut totals);
        }
        tables.handle(with((total.0 + 1, total.1), socket(SocketKind::Closed, 1, 99)), Some(CLIENT), &mut totals);
        prop_assert_eq!(only(&tables, CLIENT), (1, 0, 0, total.0 + 1, total.1));
        prop_assert_eq!(totals, Sum(1, total.0 + 1, total.1));
        prop_assert!(tables.is_empty());
    }
}

#[test]
fn the_loopback_of_another_namespace_is_not_told_unless_asked_for() {
    const HOST: NetnsId = NetnsId(1);
    const POD: NetnsId = NetnsId(2);
    let caps = Caps { workload: 10, node: 100 };
    let mut tables = Connections::new(Limits { loopback_of: Some(HOST), ..limits(caps) });
    let to = |kind, sock, netns, remote: &str| TcpSocket {
        netns,
        remote: remote.parse().unwrap(),
        ..socket(kind, sock, 10)
    };
    let sidecar = |kind, sock| to(kind, sock, POD, "127.0.0.1:5432");
    for (sock, socket) in [
        (1, sidecar(SocketKind::Connected, 1)),
        (2, to(SocketKind::Connected, 2, POD, "10.0.0.2:80")),
        (3, to(SocketKind::Connected, 3, HOST, "127.0.0.1:5432")),
    ] {
        tables.handle(socket.clone(), Some(CLIENT), &mut ());
        tables.handle(with((7, 7), TcpSocket { kind: SocketKind::Closed, ..socket }), Some(CLIENT), &mut ());
        assert_eq!(tables.open.len(), 0, "{sock}");
    }
    // Turned to a proxy in its own namespace, which a row does not know before the event.
    let turned = |kind, sock| TcpSocket {
        actual: Some("127.0.0.1:15001".parse().unwrap()),
        ..to(kind, sock, POD, "10.96.0.10:80")
    };
    for is_seen_before in [false, true] {
        if is_seen_before {
            let row = TcpSocket { actual: None, ..turned(SocketKind::Open, 7) };
            tables.handle(with((0, 0), row), Some(CLIENT), &mut ());
        }
        tables.handle(turned(SocketKind::Connected, 7), Some(CLIENT), &mut ());
        tables.handle(with((7, 7), turned(SocketKind::Closed, 7)), Some(CLIENT), &mut ());
    }
    // Only its end is known; it never began.
    tables.handle(with((7, 7), sidecar(SocketKind::Closed, 4)), Some(CLIENT), &mut ());
    tables.handle(sidecar(SocketKind::ConnectFailed, 5), Some(CLIENT), &mut ());
    let mut peers: Vec<String> = tables.flows().iter().map(|(key, _)| format!("{:?}", key.peer)).collect();
    peers.sort();
    let direct = |address: &str| format!("{:?}", Peer::direct(address.parse().unwrap()));
    assert_eq!(peers, [direct("10.0.0.2:80"), direct("127.0.0.1:5432")]);
    assert_eq!((tables.failures().iter().count(), tables.stats().unowned), (0, 0));
    // Who is accepted counts at the listener, wherever that is.
    let accepted = TcpSocket {
        role: Role::Inbound,
        local: "127.0.0.1:5432".parse().unwrap(),
        ..to(SocketKind::Accepted, 6, POD, "127.0.0.1:40000")
    };
    tables.handle(accepted, Some(SERVER), &mut ());
    assert_eq!(tables.flows().iter().filter(|(key, _)| key.direction == Direction::Inbound).count(), 1);

    let mut all = Connections::new(limits(caps));
    all.handle(sidecar(SocketKind::Connected, 1), Some(CLIENT), &mut ());
    assert_eq!(all.flows().iter().count(), 1);
}
