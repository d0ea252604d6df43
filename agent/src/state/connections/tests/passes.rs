//! What only a pass over all sockets tells.

use super::*;

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
fn a_lost_start_of_a_connection_that_a_pass_saw_is_counted_at_its_end() {
    let mut tables = tables();
    tables.handle(with((5, 6), socket(SocketKind::Open, 1, 20)), Some(CLIENT), &mut ());
    assert!(tables.flows().is_empty(), "the event may still be in the ring");
    tables.handle(with((7, 8), socket(SocketKind::Closed, 1, 30)), Some(CLIENT), &mut ());
    assert_eq!(only(&tables, CLIENT), (1, 0, 0, 7, 8));
    assert_eq!(tables.stats().starts_lost, 1);
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
fn where_a_connection_leads_is_remembered_until_its_owner_is_known() {
    let mut tables = tables();
    let actual = "10.0.0.9:8080".parse().unwrap();
    tables.handle(TcpSocket { actual: Some(actual), ..socket(SocketKind::Connected, 7, 1) }, None, &mut ());
    tables.handle(socket(SocketKind::Open, 7, 2), Some(CLIENT), &mut ());
    let peers: Vec<_> = tables.flows().iter().map(|(key, _)| key.peer).collect();
    assert_eq!(peers, [Peer::Address { destination: "10.0.0.2:80".parse().unwrap(), actual }]);
}
