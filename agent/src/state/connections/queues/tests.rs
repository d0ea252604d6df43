use crate::model::{Backlog, BootNanos, SocketKind, TcpSocket};
use crate::state::connections::tests::{CLIENT, SERVER, listener, tables};

#[test]
fn drops_of_a_listener_count_from_its_start_or_from_the_agents() {
    let mut tables = tables();
    let queue = |drops| Some(Backlog { length: 3, max: 5, drops });
    let row = |sock, drops, at| TcpSocket { backlog: queue(drops), ..listener(sock, "0.0.0.0:80", at) };
    let as_kind = |kind, socket: TcpSocket| TcpSocket { kind, ..socket };
    // Older than the agent: a baseline.
    tables.handle(row(1, 100, 1), Some(SERVER), &mut ());
    tables.handle(row(1, 107, 2), Some(SERVER), &mut ());
    // A second socket of the same address, seen from its start; its owner is known late.
    tables.handle(as_kind(SocketKind::Listen, row(2, 0, 3)), None, &mut ());
    tables.handle(row(2, 10, 4), None, &mut ());
    tables.handle(row(2, 11, 5), Some(SERVER), &mut ());
    tables.handle(as_kind(SocketKind::Unlisten, row(2, 13, 6)), None, &mut ());
    // The kernel's number wraps around.
    tables.handle(row(3, u32::MAX, 7), Some(SERVER), &mut ());
    tables.handle(row(3, 1, 8), Some(SERVER), &mut ());
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
    }
    let drops: Vec<_> = tables.backlogs().iter().map(|(_, drops)| drops.all).collect();
    assert_eq!(drops, [9]);
}
