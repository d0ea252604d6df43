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
fn an_old_connection_begins_at_a_baseline_and_takes_its_direction_from_the_listeners() {
    let mut tables = tables();
    let old = |sock, kind| TcpSocket { role: Role::Unknown, adopted: true, ..socket(kind, sock, 10) };
    let inbound = TcpSocket { local: "10.0.0.1:8080".parse().unwrap(), ..old(2, SocketKind::Open) };
    tables.handle(with((1000, 2000), old(1, SocketKind::Open)), Some(CLIENT), &mut ());
    tables.handle(with((7, 7), inbound), Some(SERVER), &mut ());
    // The listener's row comes after the connection's.
    tables.handle(listener(9, "0.0.0.0:8080", 10), Some(SERVER), &mut ());
    tables.finish_pass(BootNanos(10), &mut ());
    assert_eq!(only(&tables, CLIENT), (0, 0, 1, 0, 0), "totals do not jump");
    assert!(
        tables.flows().iter().any(|(key, _)| key.workload == SERVER && key.direction == Direction::Inbound)
    );
    tables.handle(with((1500, 2000), old(1, SocketKind::Open)), Some(CLIENT), &mut ());
    tables.handle(with((1600, 2100), old(1, SocketKind::Closed)), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (0, 0, 0, 600, 100));
}

#[test]
fn an_old_connection_that_no_pass_saw_is_nobodys() {
    let mut tables = tables();
    let closed = TcpSocket { adopted: true, ..socket(SocketKind::Closed, 1, 10) };
    tables.handle(with((1000, 1000), closed), Some(CLIENT), &mut ());
    assert!(tables.flows().is_empty());
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
fn a_lost_start_of_a_connection_that_a_pass_saw_is_counted_at_its_end() {
    let mut tables = tables();
    tables.handle(with((5, 6), socket(SocketKind::Open, 1, 20)), Some(CLIENT), &mut ());
    assert!(tables.flows().is_empty(), "the event may still be in the ring");
    tables.handle(with((7, 8), socket(SocketKind::Closed, 1, 30)), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (1, 0, 0, 7, 8));
    assert_eq!(tables.stats().starts_lost, 1);
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
fn what_a_failed_pass_found_is_forgotten() {
    let mut tables = tables();
    let old = TcpSocket { role: Role::Unknown, adopted: true, ..socket(SocketKind::Open, 1, 10) };
    tables.begin_pass();
    tables.handle(with((1, 1), old), Some(CLIENT), &mut ());
    tables.begin_pass();
    tables.finish_pass(BootNanos(20), &mut ());
    assert!(tables.is_empty() && tables.flows().is_empty());
}

#[test]
fn without_events_a_pass_ends_what_it_does_not_see() {
    let mut tables = tables();
    let old =
        |sock, at| TcpSocket { role: Role::Unknown, adopted: true, ..socket(SocketKind::Open, sock, at) };
    tables.handle(with((1, 1), old(1, 10)), Some(CLIENT), &mut ());
    tables.handle(with((1, 1), old(2, 10)), Some(CLIENT), &mut ());
    tables.finish_pass(BootNanos(10), &mut ());
    tables.handle(with((1, 1), old(2, 20)), Some(CLIENT), &mut ());
    assert_eq!(tables.close_unseen(BootNanos(20)), [1]);
    assert_eq!(only(&tables, CLIENT).2, 1);
}

#[test]
fn a_socket_that_a_newer_connection_has_is_not_forgotten_with_the_older_one() {
    let mut tables = tables();
    let row = |born, local: &str, at| TcpSocket {
        id: SocketId { sock: 1, born: BootNanos(born) },
        role: Role::Unknown,
        adopted: true,
        local: local.parse().unwrap(),
        ..socket(SocketKind::Open, 1, at)
    };
    tables.handle(row(5, "10.0.0.1:40000", 10), Some(CLIENT), &mut ());
    tables.finish_pass(BootNanos(10), &mut ());
    tables.handle(listener(9, "10.0.0.1:80", 20), Some(SERVER), &mut ());
    tables.handle(row(15, "10.0.0.1:80", 20), Some(SERVER), &mut ());
    tables.finish_pass(BootNanos(20), &mut ());
    assert_eq!(tables.close_unseen(BootNanos(20)), [0; 0]);
    assert_eq!((only(&tables, CLIENT).2, only(&tables, SERVER).2, tables.len()), (0, 1, 1));
    assert_eq!(tables.close_unseen(BootNanos(30)), [1]);
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
fn a_ghost_that_only_the_kernel_half_remembers_is_swept() {
    let mut tables = tables();
    let ghost = TcpSocket { role: Role::Unknown, adopted: true, ..socket(SocketKind::Open, 1, 10) };
    tables.handle(ghost, Some(CLIENT), &mut ());
    tables.finish_pass(BootNanos(10), &mut ());
    assert_eq!(
        tables.sweep(&[1], BootNanos(100)),
        [1],
        "handed back, so that the kernel half forgets it too"
    );
    assert_eq!((tables.len(), only(&tables, CLIENT).2), (0, 0));
}

#[test]
fn round_trips_are_known_of_old_connections_too() {
    let mut tables = tables();
    let old = |kind, at| TcpSocket {
        role: Role::Unknown,
        adopted: true,
        round_trip: Some(RoundTrip { srtt_us: 250, min_us: Some(200) }),
        ..socket(kind, 1, at)
    };
    tables.begin_pass();
    tables.handle(with((1, 1), old(SocketKind::Open, 10)), Some(CLIENT), &mut ());
    tables.finish_pass(BootNanos(10), &mut ());
    let found: Vec<_> = tables.round_trips().iter().collect();
    let seen = RoundTrip { srtt_us: 250, min_us: Some(200) };
    assert_eq!(found, [(CLIENT, "10.0.0.2".parse().unwrap(), seen)]);
    tables.begin_pass();
    assert_eq!(tables.round_trips().iter().count(), 0);
}

#[test]
fn listeners_are_bounded() {
    let mut tables = tables();
    for sock in 0..20 {
        tables.handle(
            TcpSocket { kind: SocketKind::Listen, ..listener(sock, "0.0.0.0:80", 1) },
            Some(SERVER),
            &mut (),
        );
    }
    assert_eq!((tables.listeners().len(), tables.stats().listeners_refused), (10, 10));
}

#[test]
fn a_lost_start_still_counts_and_is_told() {
    let mut tables = tables();
    tables.handle(with((10, 20), socket(SocketKind::Closed, 1, 10)), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (1, 0, 0, 10, 20));
    assert_eq!(tables.stats().starts_lost, 1);
}

#[test]
fn a_lost_end_is_swept_and_unknown_sockets_are_handed_back() {
    let mut tables = tables();
    tables.handle(socket(SocketKind::Connected, 1, 10), Some(CLIENT), &mut ());
    tables.handle(socket(SocketKind::Connected, 2, 10), Some(CLIENT), &mut ());
    assert_eq!(tables.sweep(&[2, 3], BootNanos(100)), [3]);
    assert_eq!((tables.len(), tables.stats().ends_lost), (1, 1));
    assert_eq!(only(&tables, CLIENT).2, 1);
}

#[test]
fn a_full_table_refuses_and_counts() {
    let limits = Limits { connections: 2, ..limits(Caps { workload: 10, node: 100 }) };
    let mut tables = Connections::new(limits);
    for sock in 0..5 {
        tables.handle(socket(SocketKind::Connected, sock, 10), Some(CLIENT), &mut ());
    }
    assert_eq!((tables.len(), tables.stats().refused), (2, 3));
    // One older than the agent is refused by every pass, and told once.
    for at in [20, 30] {
        tables.begin_pass();
        let old = TcpSocket { adopted: true, ..socket(SocketKind::Open, 9, at) };
        tables.handle(with((1, 1), old), Some(CLIENT), &mut ());
        tables.finish_pass(BootNanos(at), &mut ());
    }
    assert_eq!((tables.len(), tables.stats().refused), (2, 4));
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
fn connections_too_short_for_a_pass_leave_their_round_trip() {
    let mut tables = tables();
    let [seen, other] = [250, 400].map(|srtt_us| RoundTrip { srtt_us, min_us: Some(200) });
    let backend: SocketAddr = "10.0.1.7:8080".parse().unwrap();
    let ended = |sock| with((1, 1), socket(SocketKind::Closed, sock, 20));
    let closed = |sock| TcpSocket { round_trip: Some(seen), ..ended(sock) };
    let started = TcpSocket { actual: Some(backend), ..socket(SocketKind::Connected, 1, 10) };
    tables.handle(started, Some(CLIENT), &mut ());
    tables.handle(closed(1), Some(CLIENT), &mut ());
    // One whose start was lost, and one that was accepted.
    tables.handle(TcpSocket { round_trip: Some(other), ..closed(2) }, Some(CLIENT), &mut ());
    tables.handle(TcpSocket { role: Role::Inbound, ..closed(3) }, Some(SERVER), &mut ());
    let found = |tables: &Connections| {
        let mut found: Vec<_> = tables.round_trips().iter().collect();
        found.sort_unstable_by_key(|(workload, ip, _)| (*workload, *ip));
        found
    };
    let both = |owner| [(owner, "10.0.0.2".parse().unwrap(), other), (owner, backend.ip(), seen)];
    for pass in [30, 40] {
        tables.begin_pass();
        tables.finish_pass(BootNanos(pass), &mut ());
        assert_eq!(found(&tables), both(CLIENT));
    }
    tables.merge_workload(CLIENT, WorkloadIx(3));
    assert_eq!(found(&tables), both(WorkloadIx(3)));
    tables.collect_garbage(BootNanos(20), &[]);
    assert_eq!(found(&tables).len(), 2);
    tables.collect_garbage(BootNanos(21), &[]);
    assert_eq!(found(&tables), []);
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
