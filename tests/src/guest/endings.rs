//! How connections fail and end, what waits at listeners, and what an address was before it was rewritten: the kernel's
//! own numbers, which every kernel keeps in another place.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::tests::{SELF, count, enter_new_network, serve};
use super::{Agent, check};
use crate::rewrite::Rewrite;
use crate::traffic::{self, endings};
use crate::wait;

const QUEUE: u32 = 2;
const DROPPED: u64 = 6;
/// Port of the child without free ports.
const PORTLESS: u16 = 9557;
const UNAVAILABLE: u64 = 3;

/// All of them.
pub(super) fn run_all(agent: &Agent) {
    check("handshakes_fill_a_histogram", || handshakes(agent));
    check("resets_are_told_by_side", || resets(agent));
    check("a_full_accept_queue_drops", || full_queue(agent));
    check("a_handshake_is_reset", || half_reset(agent));
    check("no_free_port_is_a_reason", || no_free_port(agent));
    check("the_address_asked_for_is_told", || asked(agent));
}

fn handshakes(agent: &Agent) -> Result<()> {
    let server = serve()?;
    traffic::connect(server, 4)?;
    let _open = TcpStream::connect(server).context("hold a connection")?;
    let server = server.to_string();
    let labels = [SELF, ("destination", server.as_str())];
    agent.expect(&[("container_net_tcp_connect_duration_seconds_count", &labels, 5.0)]);
    let fastest = [SELF, ("destination_ip", "127.0.0.1")];
    let rtt = agent.metrics()?.value("container_net_tcp_min_rtt_seconds", &fastest)?;
    ensure!(rtt > 0.0 && rtt < 1.0, "the smallest round trip took {rtt} s");
    Ok(())
}

fn resets(agent: &Agent) -> Result<()> {
    let server = crate::process::free_address();
    std::thread::spawn(move || endings::serve_resets(server));
    wait::until("the server", || TcpStream::connect(server).map_err(|error| error.to_string()));
    endings::give_up(server, 3)?;
    endings::be_reset(server, 2)?;
    let server = server.to_string();
    let out = |side| [SELF, ("destination", server.as_str()), ("side", side)];
    let inbound = |side| [SELF, ("listen_addr", server.as_str()), ("side", side)];
    agent.expect(&[
        ("container_net_tcp_resets_total", &out("sent"), 3.0),
        ("container_net_tcp_resets_total", &out("received"), 2.0),
        ("container_net_tcp_inbound_resets_total", &inbound("sent"), 2.0),
        ("container_net_tcp_inbound_resets_total", &inbound("received"), 3.0),
    ]);
    Ok(())
}

/// A listener that accepts nobody, with a full queue, and the connections in it.
fn ignoring() -> Result<(SocketAddr, Vec<TcpStream>)> {
    let server = crate::process::free_address();
    std::thread::spawn(move || endings::ignore(server, QUEUE as i32));
    let waiting = (0..=QUEUE).map(|_| {
        wait::until("a place in the queue", || TcpStream::connect(server).map_err(|error| error.to_string()))
    });
    Ok((server, waiting.collect()))
}

fn full_queue(agent: &Agent) -> Result<()> {
    let (server, _waiting) = ignoring()?;
    endings::abandon(server, DROPPED)?;
    let server = server.to_string();
    let listener = [SELF, ("listen_addr", server.as_str())];
    let failed = |reason| [SELF, ("destination", server.as_str()), ("reason", reason)];
    agent.expect(&[
        ("container_net_tcp_listen_backlog", &listener, f64::from(QUEUE + 1)),
        ("container_net_tcp_listen_backlog_max", &listener, f64::from(QUEUE + 1)),
        ("container_net_tcp_listen_drops_total", &listener, count(DROPPED)),
        ("container_net_tcp_connect_failures_total", &failed("aborted"), count(DROPPED)),
    ]);
    fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").context("make connects impatient")?;
    endings::fail(server.parse()?, 2, "ETIMEDOUT")?;
    agent.expect(&[("container_net_tcp_connect_failures_total", &failed("timeout"), 2.0)]);
    Ok(())
}

fn half_reset(agent: &Agent) -> Result<()> {
    let (server, _waiting) = ignoring()?;
    endings::reset_in_handshake(server, 2)?;
    let server = server.to_string();
    let labels = [SELF, ("destination", server.as_str()), ("reason", "reset")];
    agent.expect(&[("container_net_tcp_connect_failures_total", &labels, 2.0)]);
    Ok(())
}

fn no_free_port(agent: &Agent) -> Result<()> {
    let _child = super::tests::Role::start("portless")?;
    let destination = format!("127.0.0.1:{PORTLESS}");
    let labels = [SELF, ("destination", destination.as_str()), ("reason", "address_unavailable")];
    agent.expect(&[("container_net_tcp_connect_failures_total", &labels, count(UNAVAILABLE))]);
    Ok(())
}

/// The child's part: one connection takes the only port of a namespace, others fail.
pub(super) fn portless() -> Result<()> {
    enter_new_network()?;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").context("leave one port")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTLESS));
    let _listener = TcpListener::bind(address).context("listen")?;
    let _first = TcpStream::connect(address).context("connect")?;
    endings::fail(address, UNAVAILABLE, "EADDRNOTAVAIL")?;
    println!("holding");
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

pub(super) fn asked(agent: &Agent) -> Result<()> {
    let server = serve()?;
    // Connected to nothing but itself: an address that is not rewritten leads nowhere.
    let service: SocketAddr = "192.0.2.10:443".parse()?;
    let rewrite = Rewrite::attach(Path::new("/sys/fs/cgroup"), service, server)?;
    traffic::connect(service, 3)?;
    traffic::send(service, 4321)?;
    drop(rewrite);
    let (service, server) = (service.to_string(), server.to_string());
    let labels = [SELF, ("destination", service.as_str()), ("actual_destination", server.as_str())];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &labels, 4.0),
        ("container_net_tcp_bytes_sent_total", &labels, 4321.0),
    ]);
    Ok(())
}
