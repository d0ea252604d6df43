use std::net::SocketAddr;

use super::*;
use crate::model::{End, Failure, Origin, SocketId};

fn socket(kind: SocketKind, role: Role) -> TcpSocket {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    TcpSocket {
        kind,
        id: SocketId { sock: 1, born: BootNanos(1) },
        at: BootNanos(1),
        role,
        adopted: false,
        local: address("10.0.0.1:40000"),
        remote: address("10.0.0.2:80"),
        asked: None,
        actual: None,
        name: None,
        netns: NetnsId(7),
        origin: None,
        connect_ns: 0,
        failure: Failure::Other,
        end: End::Orderly,
        counters: None,
        round_trip: None,
        backlog: None,
    }
}

#[test]
fn only_what_was_opened_here_is_asked_for() {
    assert!(is_asked_for(&socket(SocketKind::Connected, Role::Outbound)));
    assert!(is_asked_for(&socket(SocketKind::Open, Role::Unknown)), "older than the agent");
    assert!(!is_asked_for(&socket(SocketKind::Open, Role::Inbound)));
    assert!(!is_asked_for(&socket(SocketKind::Accepted, Role::Inbound)));
    assert!(!is_asked_for(&socket(SocketKind::Closed, Role::Outbound)), "its port is not known any more");
    let known = TcpSocket {
        actual: Some("10.0.0.3:80".parse().unwrap()),
        ..socket(SocketKind::Connected, Role::Outbound)
    };
    assert!(!is_asked_for(&known));
}

#[test]
fn turned_off_it_asks_nothing_and_says_so() {
    let mut translator = Translator::disabled();
    let mut sockets = [TcpSocket {
        origin: Some(Origin {
            pid: HostPid(1),
            v2: crate::model::CgroupId(1),
            v1: crate::model::CgroupId(0),
            comm: "x".into(),
        }),
        ..socket(SocketKind::Connected, Role::Outbound)
    }];
    translator.translate(sockets.iter_mut(), |_| None, BootNanos(0));
    assert_eq!((sockets[0].actual, translator.stats()), (None, Stats::default()));
    let verdicts: Vec<_> =
        translator.status().iter().map(|status| (status.name, status.verdict.name())).collect();
    assert_eq!(verdicts, [("net/translation", "disabled"), ("net/namespaces", "disabled")]);
}
