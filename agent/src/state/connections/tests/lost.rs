//! What the agent was never told, and what it has no room for.

use super::*;

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
