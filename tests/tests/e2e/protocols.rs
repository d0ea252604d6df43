//! Protocols of the node, counted exactly on a machine of the test's own that does nothing else.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sockopt};
use sonde_tests::skip::Need;
use sonde_tests::stand_in::StandIn;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::kernel_numbers::column;
use crate::node::{agent_of, fresh};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Connected pairs of a listener.
fn pairs(listener: &TcpListener, count: usize) -> Vec<(TcpStream, TcpStream)> {
    let address = listener.local_addr().expect("an address");
    let pair = |_| (TcpStream::connect(address).expect("connect"), listener.accept().expect("accept").0);
    (0..count).map(pair).collect()
}

/// Sends a TCP segment with the ACK flag, as it stands here, to a port of loopback.
fn send_segment(port: u16, checksum_is_right: bool) {
    let mut segment = [0_u8; 20];
    segment[0..2].copy_from_slice(&9_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&port.to_be_bytes());
    segment[4..8].copy_from_slice(&77_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&78_u32.to_be_bytes());
    (segment[12], segment[13]) = (5 << 4, 1 << 4);
    // RFC 9293 3.1: both addresses, the protocol's number and the length are summed, too.
    let address = u32::from(LOCALHOST);
    let pseudo = 2 * ((address >> 16) + (address & 0xffff)) + 6 + 20;
    let words = segment.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = pseudo + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let sum = !u16::try_from(sum).expect("folded") ^ u16::from(!checksum_is_right);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    let raw =
        rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).expect("a socket");
    rustix::net::sendto(&raw, &segment, SendFlags::empty(), &SocketAddr::from((LOCALHOST, 0))).expect("send");
}

#[test]
fn segments_and_resets_of_tcp_are_counted_exactly() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("prometheus"));
    let host = StandIn::new();
    let agent = agent_of(&host);
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let held = host.inside(|| {
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("listen");
        let held = pairs(&listener, 5);
        for (client, mut server) in pairs(&listener, 2) {
            sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("end by a reset");
            drop(client);
            assert_eq!(server.read(&mut [0]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
        }
        for _ in 0..4 {
            send_segment(listener.local_addr().expect("an address").port(), false);
        }
        (listener, held)
    });
    // A handshake is three segments; the bad ones were sent by nobody's TCP.
    agent.expect(&[
        ("node_net_tcp_segments_sent_total", &[], 7.0 * 3.0 + 2.0),
        ("node_net_tcp_segments_received_total", &[], 7.0 * 3.0 + 2.0 + 4.0),
        ("node_net_tcp_segments_bad_total", &[], 4.0),
        // Each end was established.
        ("node_net_tcp_established_resets_total", &[], 4.0),
        ("node_net_tcp_resets_sent_total", &[], 2.0),
        ("node_net_tcp_timeouts_total", &[], 0.0),
        ("node_net_tcp_memory_aborts_total", &[], 0.0),
        ("node_net_tcp_syn_cookies_sent_total", &[], 0.0),
    ]);
    prometheus.promql().expect(&[("node_net_tcp_segments_bad_total".to_owned(), 4.0)]);
    drop(held);
}

#[test]
fn cookies_timeouts_and_orphans_of_tcp_are_counted_exactly() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nft"));
    let mut host = StandIn::new();
    host.run("sysctl -qw net.ipv4.tcp_syncookies=2");
    let agent = agent_of(&host);
    let (listener, held) = host.inside(|| {
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("listen");
        let held = pairs(&listener, 6);
        for _ in 0..3 {
            send_segment(listener.local_addr().expect("an address").port(), true);
        }
        (listener, held)
    });
    agent.expect(&[
        ("node_net_tcp_syn_cookies_sent_total", &[], 6.0),
        ("node_net_tcp_syn_cookies_failed_total", &[], 3.0),
        ("node_net_tcp_segments_bad_total", &[], 0.0),
    ]);
    // From here on nothing arrives: the end of each connection is sent again and again.
    host.run(
        "nft add table inet t && nft 'add chain inet t c { type filter hook input priority 0; policy drop; }'",
    );
    let (clients, servers): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    drop(clients);
    let kernel = || {
        let netstat = std::fs::read_to_string(host.proc_root().join("1/net/netstat")).expect("read netstat");
        column(&netstat, "TcpExt", "TCPTimeouts")
    };
    let metrics = wait::until("a timer of each to expire", || {
        let low = kernel();
        let metrics = fresh(&agent);
        let seen = metrics.value("node_net_tcp_timeouts_total", &[]).expect("timeouts");
        let high = kernel();
        assert!((low..=high).contains(&seen), "{seen} timeouts, the kernel said {low}, then {high}");
        wait::ensure(seen >= 6.0, || format!("{seen} timeouts")).map(|()| metrics)
    });
    // Those of all namespaces.
    let orphaned = metrics.value("node_net_tcp_orphaned_sockets", &[]).expect("orphans");
    let allocated = metrics.value("node_net_tcp_allocated_sockets", &[]).expect("sockets");
    assert!(orphaned >= 6.0 && allocated >= 13.0, "{orphaned} orphans of {allocated} sockets");
    drop((listener, servers));
}

#[test]
fn datagrams_and_full_buffers_are_counted_exactly() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("prometheus"));
    const SENT: usize = 60;
    let mut host = StandIn::new();
    // An address that nobody answers for: what is sent there waits, in the sender's buffer.
    host.run(
        "ip link add eth0 type veth peer name eth1 && ip address add 10.9.0.1/24 dev eth0 \
         && ip link set eth0 up && ip link set eth1 up",
    );
    let agent = agent_of(&host);
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let (received, refused, _sockets) = host.inside(|| {
        let bind = |address: SocketAddr| UdpSocket::bind(address).expect("bind");
        let (one, two) = (bind((LOCALHOST, 0).into()), bind((LOCALHOST, 0).into()));
        sockopt::set_socket_recv_buffer_size(&two, 1).expect("shrink the buffer");
        for _ in 0..SENT {
            one.send_to(&[1; 1000], two.local_addr().expect("an address")).expect("send");
        }
        two.set_nonblocking(true).expect("do not block");
        let received = std::iter::from_fn(|| two.recv(&mut [0; 1000]).ok()).count();
        let (three, four) = (bind((Ipv6Addr::LOCALHOST, 0).into()), bind((Ipv6Addr::LOCALHOST, 0).into()));
        for _ in 0..9 {
            three.send_to(b"nine", four.local_addr().expect("an address")).expect("send");
            assert_eq!(four.recv(&mut [0; 10]).expect("receive"), 4);
        }
        let five = bind((Ipv4Addr::new(10, 9, 0, 1), 0).into());
        sockopt::set_socket_send_buffer_size(&five, 1).expect("shrink the buffer");
        five.set_nonblocking(true).expect("do not block");
        let send = |_| five.send_to(&[1; 1000], (Ipv4Addr::new(10, 9, 0, 2), 9));
        let refused = (0..20).map(send).filter(Result::is_err).count();
        (received, refused, [one, two, three, four, five])
    });
    assert!((1..SENT).contains(&received) && (1..20).contains(&refused), "{received} and {refused}");
    let (v4, v6) = ([("family", "ipv4")], [("family", "ipv6")]);
    let lost = (SENT - received) as f64;
    agent.expect(&[
        ("node_net_udp_datagrams_received_total", &v4, received as f64),
        ("node_net_udp_datagrams_received_total", &v6, 9.0),
        ("node_net_udp_receive_errors_total", &v4, lost),
        ("node_net_udp_receive_errors_total", &v6, 0.0),
        ("node_net_udp_receive_buffer_errors_total", &v4, lost),
        ("node_net_udp_receive_buffer_errors_total", &v6, 0.0),
        ("node_net_udp_send_buffer_errors_total", &v4, refused as f64),
        ("node_net_udp_send_buffer_errors_total", &v6, 0.0),
    ]);
    prometheus
        .promql()
        .expect(&[("node_net_udp_receive_buffer_errors_total{family=\"ipv4\"}".to_owned(), lost)]);
}

#[test]
fn bytes_and_packets_of_interfaces_are_counted_exactly() {
    require!(Need::Root, Need::Tool("ip"));
    const PACKETS: u32 = 9;
    // Headers of Ethernet, IPv4 and UDP come on top of the payload.
    const BYTES: f64 = (14 + 20 + 8 + 100) as f64;
    let mut host = StandIn::new();
    host.run(
        "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
         && ip link add eth0 type veth peer name eth1 && ip address add 10.9.0.1/24 dev eth0 \
         && ip link set eth0 up && ip link set eth1 up \
         && ip neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent",
    );
    let agent = agent_of(&host);
    host.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::new(10, 9, 0, 1), 0)).expect("bind");
        for _ in 0..PACKETS {
            socket.send_to(&[0; 100], (Ipv4Addr::new(10, 9, 0, 2), 9)).expect("send");
        }
    });
    let packets = f64::from(PACKETS);
    let (eth0, eth1) = ([("interface", "eth0")], [("interface", "eth1")]);
    agent.expect(&[
        ("node_net_transmitted_packets_total", &eth0, packets),
        ("node_net_transmitted_bytes_total", &eth0, packets * BYTES),
        ("node_net_received_packets_total", &eth1, packets),
        ("node_net_received_bytes_total", &eth1, packets * BYTES),
        ("node_net_received_packets_total", &eth0, 0.0),
        ("node_net_transmitted_bytes_total", &eth1, 0.0),
    ]);
}
