//! UDP and DNS in the guest. PID 1 alone uses them, so that every datagram of `/host/init` is one of these.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context, Result, ensure};

use super::Agent;
use super::tests::{SELF, count};
use crate::{datagrams, dns, traffic};

const ASKED: u64 = 6;
const BYTES: usize = 1_500;
const FLOOD: u64 = 40;
const REFUSED: u64 = 3;

/// Both directions, both families; what a full buffer drops; what nobody takes.
pub(super) fn are_exact(agent: &Agent) -> Result<()> {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = UdpSocket::bind(address).with_context(|| format!("bind to {address}"))?;
        let address = server.local_addr()?.to_string();
        std::thread::spawn(move || datagrams::serve(&server));
        datagrams::ask(&address, ASKED, BYTES)?;
    }
    // Both sides are this process.
    let (asked, answered) = (2 * ASKED * BYTES as u64, 2 * ASKED * 8);
    // Nobody else here sends datagrams, and the packets have both families' ends.
    let loopback = [("protocol", "udp"), ("class", "loopback")];
    agent.expect(&[
        ("container_net_udp_bytes_sent_total", &[SELF], count(asked + answered)),
        ("container_net_udp_bytes_received_total", &[SELF], count(asked + answered)),
        ("container_net_udp_messages_received_total", &[SELF], count(4 * ASKED)),
        ("node_net_traffic_sent_bytes_total", &loopback, count(asked + answered)),
        ("node_net_traffic_received_bytes_total", &loopback, count(asked + answered)),
    ]);

    let hoard = UdpSocket::bind("127.0.0.1:0").context("bind")?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&hoard, 1).context("set the buffer's size")?;
    hoard.set_nonblocking(true)?;
    datagrams::send(&hoard.local_addr()?.to_string(), FLOOD, 1_000)?;
    let held = std::iter::from_fn(|| hoard.recv_from(&mut [0; 1]).ok()).count() as u64;
    ensure!(held < FLOOD, "{held} of {FLOOD} datagrams found room");
    agent.expect(&[("container_net_udp_receive_drops_total", &[SELF], count(FLOOD - held))]);
    datagrams::send(&hoard.local_addr()?.to_string(), held + 5, 1_000)?;
    drop(hoard);
    datagrams::refused(&crate::process::free_address().to_string(), REFUSED)?;
    let refused = [SELF, ("reason", "refused")];
    agent.expect(&[
        ("container_net_udp_receive_drops_total", &[SELF], count(FLOOD - held + 5)),
        ("container_net_udp_errors_total", &refused, count(REFUSED)),
    ]);
    Ok(())
}

/// An answer over UDP names a destination. The server stays, so each test has one at its own address.
pub(super) fn names_are_seen(agent: &Agent, name_server: &str) -> Result<()> {
    let name_server: SocketAddr = name_server.parse()?;
    let server = dns::Server::bind(name_server)?;
    std::thread::spawn(move || server.run());
    dns::ask_udp(name_server, "loop.test")?;
    let listener = TcpListener::bind((dns::LOOP, 0)).context("listen")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(traffic::answer(stream)))
    });
    traffic::connect(address, 2)?;
    agent.expect(&[("ip_to_fqdn", &[("ip", dns::LOOP), ("fqdn", "loop.test")], 1.0)]);
    Ok(())
}
