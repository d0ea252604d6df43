use proptest::prelude::*;

use crate::model::{Backlog, BootNanos, Claim, HostPid, Origin, SocketKind, TcpSocket, WorkloadIx};
use crate::state::Connections;
use crate::state::connections::tests::{CLIENT, SERVER, listener, tables};

#[test]
fn drops_of_a_listener_count_from_its_start_or_from_the_agents() {
    let mut tables = tables();
    let queue = |drops| Some(Backlog { length: 3, max: 5, drops });
    let row = |sock, drops, at| TcpSocket { backlog: queue(drops), ..listener(sock, "0.0.0.0:80", at) };
    let as_kind = |kind, socket: TcpSocket| TcpSocket { kind, ..socket };
    let mut pass = |row: TcpSocket, owner| {
        tables.handle(row, owner, &mut ());
        tables.finish_pass(BootNanos(0), &mut ());
    };
    // Older than the agent: a baseline.
    pass(row(1, 100, 1), Some(SERVER));
    pass(row(1, 107, 2), Some(SERVER));
    // A second socket of the same address, seen from its start; its owner is known late.
    pass(as_kind(SocketKind::Listen, row(2, 0, 3)), None);
    pass(row(2, 10, 4), None);
    pass(row(2, 11, 5), Some(SERVER));
    pass(as_kind(SocketKind::Unlisten, row(2, 13, 6)), None);
    // The kernel's number wraps around.
    pass(row(3, u32::MAX, 7), Some(SERVER));
    pass(row(3, 1, 8), Some(SERVER));
    let drops: Vec<_> = tables.backlogs().iter().map(|(key, drops)| (key.address, drops.all)).collect();
    assert_eq!(drops, [(Some("0.0.0.0:80".parse().unwrap()), 7 + 13 + 2)]);
    assert_eq!(tables.listeners().get(1).unwrap().backlog, queue(107));
}

#[test]
fn overflows_are_of_the_listeners_that_dropped_and_follow_their_workload() {
    let mut tables = tables();
    let row = |sock, address, drops| TcpSocket {
        backlog: Some(Backlog { length: 3, max: 3, drops }),
        ..listener(sock, address, 1)
    };
    let mut pass = |rows: [u32; 2], total| {
        for (sock, (address, drops)) in (1..).zip([("0.0.0.0:80", rows[0]), ("0.0.0.0:81", rows[1])]) {
            let owner = if sock == 1 { CLIENT } else { SERVER };
            tables.handle(row(sock, address, drops), Some(owner), &mut ());
        }
        tables.finish_pass(BootNanos(0), &mut ());
        let asked = tables.overflow_questions();
        let answers = asked.iter().map(|(netns, _)| (*netns, total)).collect();
        tables.answer_overflows(answers, BootNanos(2));
        let mut seen: Vec<_> =
            tables.backlogs().iter().map(|(key, drops)| (key.workload, drops.all, drops.overflows)).collect();
        seen.sort_unstable();
        (asked.len(), seen)
    };
    assert_eq!(pass([7, 0], None), (1, vec![(CLIENT, 0, None), (SERVER, 0, None)]), "nobody could tell");
    assert_eq!(pass([7, 0], Some(9)), (1, vec![(CLIENT, 0, Some(0)), (SERVER, 0, Some(0))]));
    assert_eq!(pass([7, 0], Some(9)).0, 0, "nothing was dropped");
    assert_eq!(pass([9, 0], Some(9)), (1, vec![(CLIENT, 2, Some(0)), (SERVER, 0, Some(0))]));
    assert_eq!(pass([9, 3], Some(12)), (1, vec![(CLIENT, 2, Some(0)), (SERVER, 3, Some(3))]));
    tables.handle(row(2, "0.0.0.0:81", 5), Some(SERVER), &mut ());
    tables.finish_pass(BootNanos(0), &mut ());
    tables.merge_workload(SERVER, CLIENT);
    let answers = tables.overflow_questions().into_iter().map(|(netns, _)| (netns, Some(14))).collect();
    tables.answer_overflows(answers, BootNanos(3));
    let mut seen: Vec<_> = tables
        .backlogs()
        .iter()
        .map(|(key, drops)| (key.address.unwrap().port(), key.workload, *drops))
        .collect();
    seen.sort_unstable_by_key(|(port, ..)| *port);
    let drops = |all, overflows| crate::state::Drops { all, overflows: Some(overflows) };
    assert_eq!(seen, [(80, CLIENT, drops(2, 0)), (81, CLIENT, drops(5, 5))]);
}

#[test]
fn a_listener_at_the_address_of_one_whose_end_is_still_to_come_begins_anew() {
    let mut tables = tables();
    let row = |drops, at| TcpSocket {
        backlog: Some(Backlog { length: 0, max: 5, drops }),
        ..listener(1, "0.0.0.0:80", at)
    };
    tables.handle(TcpSocket { kind: SocketKind::Listen, ..row(0, 1) }, Some(SERVER), &mut ());
    for (drops, at) in [(7, 2), (0, 3), (2, 4)] {
        tables.handle(row(drops, at), Some(SERVER), &mut ());
        tables.finish_pass(BootNanos(0), &mut ());
    }
    let drops: Vec<_> = tables.backlogs().iter().map(|(_, drops)| drops.all).collect();
    assert_eq!(drops, [9]);
}

/// Processes that hold a socket: workload, whether it is a service, process.
type Holder = (WorkloadIx, bool, u32);

/// A pass that meets these holders of one socket.
fn pass(tables: &mut Connections, holders: &[Holder], drops: u32, at: u64) {
    tables.begin_pass();
    for (workload, is_managed, pid) in holders {
        let row = listener(1, "0.0.0.0:80", at);
        let origin = row.origin.clone().map(|origin| Origin { pid: HostPid(*pid), ..origin });
        let backlog = Some(Backlog { length: 0, max: 5, drops });
        let claim = Claim { workload: Some(*workload), is_managed: *is_managed, pid: HostPid(*pid) };
        tables.handle(TcpSocket { origin, backlog, ..row }, claim, &mut ());
    }
    tables.finish_pass(BootNanos(at), &mut ());
}

fn drops(tables: &Connections, workload: WorkloadIx) -> u64 {
    tables.backlogs().iter().filter(|(key, _)| key.workload == workload).map(|(_, drops)| drops.all).sum()
}

#[test]
fn a_socket_that_systemd_opened_is_the_services_as_long_as_that_holds_it() {
    let (systemd, service) = ((CLIENT, false, 1), (SERVER, true, 700));
    for both in [[systemd, service], [service, systemd]] {
        let mut tables = tables();
        let listen = TcpSocket { kind: SocketKind::Listen, ..listener(1, "0.0.0.0:80", 1) };
        tables.handle(listen, Some(CLIENT), &mut ());
        let mut seen = |holders: &[Holder], count, at| {
            pass(&mut tables, holders, count, at);
            let owner = tables.listeners().get(1).unwrap();
            (owner.workload, owner.pid, drops(&tables, CLIENT), drops(&tables, SERVER))
        };
        let of_service = |pid| (Some(SERVER), Some(HostPid(pid)));
        let with = |(workload, pid), systemd, service| (workload, pid, systemd, service);
        assert_eq!(seen(&both, 3, 2), with(of_service(700), 0, 3));
        assert_eq!(seen(&both, 7, 3), with(of_service(700), 0, 7));
        assert_eq!(seen(&[systemd], 9, 4), (Some(CLIENT), Some(HostPid(1)), 2, 7), "it was stopped");
        assert_eq!(seen(&[systemd, (SERVER, true, 800)], 10, 5), with(of_service(800), 2, 8));
    }
}

#[test]
fn a_pass_that_came_to_no_end_decides_nothing() {
    let mut tables = tables();
    pass(&mut tables, &[(CLIENT, false, 1)], 0, 1);
    tables.begin_pass();
    let claim = Claim { workload: Some(SERVER), is_managed: true, pid: HostPid(9) };
    tables.handle(listener(1, "0.0.0.0:80", 2), claim, &mut ());
    pass(&mut tables, &[(CLIENT, false, 1)], 4, 3);
    assert_eq!((drops(&tables, CLIENT), drops(&tables, SERVER)), (4, 0));
}

proptest! {
    #[test]
    fn each_drop_is_one_owners_whatever_the_order(
        passes in prop::collection::vec(
            (prop::collection::vec((1..4_u32, any::<bool>(), 1..6_u32), 1..5), 0..10_u32, any::<bool>()),
            1..12,
        ),
    ) {
        let mut tables = tables();
        let (mut count, mut expected) = (0, [0; 4]);
        for (number, (holders, new, is_turned)) in passes.into_iter().enumerate() {
            // A workload is a service or it is not.
            let mut holders: Vec<Holder> =
                holders.into_iter().map(|(of, _, pid)| (WorkloadIx(of), of == 3, pid)).collect();
            let best = holders.iter().max_by_key(|(of, is_managed, pid)| (*is_managed, *pid, *of)).unwrap().0;
            if is_turned {
                holders.reverse();
            }
            count += new;
            pass(&mut tables, &holders, count, number as u64 + 1);
            // What is there at first is a baseline.
            expected[best.0 as usize] += if number > 0 { u64::from(new) } else { 0 };
            prop_assert_eq!([0, 1, 2, 3].map(|of| drops(&tables, WorkloadIx(of))), expected);
        }
    }
}

#[test]
fn an_event_that_comes_after_the_row_of_a_pass_takes_nothing_back() {
    let mut tables = tables();
    let backlog = Some(Backlog { length: 1, max: 5, drops: 0 });
    let row = TcpSocket { backlog, ..listener(1, "0.0.0.0:80", 3) };
    tables.handle(row.clone(), Some(SERVER), &mut ());
    tables.finish_pass(BootNanos(0), &mut ());
    // Whoever called listen(2) may be another one than who holds it.
    let event = TcpSocket { kind: SocketKind::Listen, at: BootNanos(2), backlog: None, ..row };
    tables.handle(event, Some(CLIENT), &mut ());
    let known = tables.listeners().get(1).unwrap();
    assert_eq!((known.workload, known.backlog, known.seen), (Some(SERVER), backlog, BootNanos(3)));
}
