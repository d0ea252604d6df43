//! The tests of the guest: TCP in exact numbers, over loopback, in another network namespace, from a service.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Agent, check, child_command, datagrams, hierarchy, machine};
use crate::traffic::{self, REPLY_BYTES};

/// This program is `/init` and in no service.
pub(super) const SELF: (&str, &str) = ("container_id", "/host/init");
const CONNECTS: u64 = 7;
const REFUSED: u64 = 3;
const BYTES: u64 = 1_000_003;
const NAMESPACE_PORT: u16 = 9555;
const SERVICE: &str = "/system.slice/guest-test.service";
const SERVICE_PORT: u16 = 9556;

/// All tests that need no connection from before the agent's start.
pub(super) fn run_all(agent: &Agent) {
    check("connects_and_bytes_are_exact", || connects_and_bytes(agent));
    check("refused_connects_are_counted", || refused(agent));
    check("listeners_are_shown", || listeners(agent));
    check("another_network_namespace_is_seen", || namespace(agent));
    check("a_service_owns_its_connections", || service(agent));
    check("datagrams_are_exact", || datagrams::are_exact(agent));
    check("names_of_destinations_are_seen", || datagrams::names_are_seen(agent, "127.0.0.1:53"));
}

/// A connection from before the agent's start, with bytes already on it.
pub(super) struct Existing {
    stream: TcpStream,
    server: SocketAddr,
}

impl Existing {
    /// Opens it and sends some bytes.
    pub(super) fn open() -> Result<Self> {
        let server = serve()?;
        let mut stream = TcpStream::connect(server).context("open the existing connection")?;
        stream.write_all(&[0; 5000]).context("send before the agent's start")?;
        Ok(Self { stream, server })
    }

    /// It is active; only bytes sent from now on count.
    pub(super) fn check(&mut self, agent: &Agent) -> Result<()> {
        let server = self.server.to_string();
        let labels = [SELF, ("destination", server.as_str())];
        agent.expect(&[("container_net_tcp_active_connections", &labels, 1.0)]);
        self.stream.write_all(&[0; 321]).context("send after the agent's start")?;
        agent.expect(&[("container_net_tcp_bytes_sent_total", &labels, 321.0)]);
        ensure!(
            agent.metrics()?.sum("container_net_tcp_successful_connects_total", &labels) == 0.0,
            "its connect was before the agent's start"
        );
        Ok(())
    }
}

fn connects_and_bytes(agent: &Agent) -> Result<()> {
    let server = serve()?;
    traffic::connect(server, CONNECTS)?;
    traffic::send(server, BYTES)?;
    let server = server.to_string();
    let labels = [SELF, ("destination", &server), ("actual_destination", &server)];
    let connections = CONNECTS + 1;
    let received = count(connections * u64::from(REPLY_BYTES));
    let listener = [SELF, ("listen_addr", server.as_str())];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &labels, count(connections)),
        ("container_net_tcp_bytes_sent_total", &labels, count(BYTES)),
        ("container_net_tcp_bytes_received_total", &labels, received),
        ("container_net_tcp_active_connections", &labels, 0.0),
        ("container_net_tcp_inbound_connections_total", &listener, count(connections)),
        ("container_net_tcp_inbound_bytes_received_total", &listener, count(BYTES)),
    ]);
    Ok(())
}

fn refused(agent: &Agent) -> Result<()> {
    let closed = crate::process::free_address();
    traffic::refused(closed, REFUSED)?;
    let labels = [SELF, ("destination", &closed.to_string())];
    agent.expect(&[("container_net_tcp_failed_connects_total", &labels, count(REFUSED))]);
    Ok(())
}

fn listeners(agent: &Agent) -> Result<()> {
    let server = serve()?;
    agent.expect(&[("container_net_tcp_listen_info", &[SELF, ("listen_addr", &server.to_string())], 1.0)]);
    Ok(())
}

fn namespace(agent: &Agent) -> Result<()> {
    let _child = Role::start("namespace")?;
    let destination = format!("127.0.0.1:{NAMESPACE_PORT}");
    let labels = [SELF, ("destination", destination.as_str())];
    expect_held(agent, &labels);
    Ok(())
}

pub(super) fn service(agent: &Agent) -> Result<()> {
    let _child = Role::start("service")?;
    let destination = format!("127.0.0.1:{SERVICE_PORT}");
    let labels = [("container_id", SERVICE), ("destination", destination.as_str())];
    expect_held(agent, &labels);
    Ok(())
}

/// One connection was made and is open.
fn expect_held(agent: &Agent, labels: &[(&str, &str)]) {
    agent.expect(&[
        ("container_net_tcp_active_connections", labels, 1.0),
        ("container_net_tcp_successful_connects_total", labels, 1.0),
    ]);
}

/// What a child of PID 1 does: it prepares itself, holds one connection and waits for the end of its input.
///
/// # Errors
/// When it cannot; PID 1 sees its early end.
pub(super) fn child(role: &str) -> Result<()> {
    if role == "portless" {
        return super::endings::portless();
    }
    let port = match role {
        "namespace" => {
            enter_new_network()?;
            NAMESPACE_PORT
        }
        "service" => {
            hierarchy::enter(SERVICE)?;
            SERVICE_PORT
        }
        other => anyhow::bail!("unknown role `{other}`"),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).context("listen")?;
    let _client = TcpStream::connect(address).context("connect")?;
    let _server = listener.accept().context("accept")?;
    println!("holding");
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

/// What a child does that is only there to be in a service: some traffic.
///
/// # Errors
/// Of the traffic.
pub(super) fn child_in(service: &str, arguments: &[&str]) -> Result<()> {
    hierarchy::enter(service)?;
    traffic::run(arguments)
}

/// A child that moves into a service before it does what the arguments say.
pub(super) fn command_in(service: &str, arguments: &[&str]) -> Command {
    let mut command = child_command("in");
    command.arg(service).args(arguments);
    command
}

#[expect(deprecated, reason = "its danger is in sharing file descriptors, which this does not touch")]
pub(super) fn enter_new_network() -> Result<()> {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).context("make a network namespace")?;
    machine::bring_loopback_up()
}

/// A child in a role; it ends with this value, as its input does.
pub(super) struct Role(Child);

impl Role {
    /// Starts it and waits until it holds its connection.
    pub(super) fn start(role: &str) -> Result<Self> {
        Self::spawn(child_command(role), "holding").map(|(role, _)| role)
    }

    /// Starts traffic in a service and waits until it says so by this word; returns what follows that.
    pub(super) fn start_in(service: &str, arguments: &[&str], word: &str) -> Result<(Self, String)> {
        Self::spawn(command_in(service, arguments), word)
    }

    fn spawn(mut command: Command, word: &str) -> Result<(Self, String)> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let output = child.stdout.take().context("take the child's output")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let said = lines.find_map(|line| line.strip_prefix(word).map(str::to_owned));
        Ok((Self(child), said.with_context(|| format!("{command:?} ended early"))?))
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server in this process, on a port of its own.
pub(super) fn serve() -> Result<SocketAddr> {
    serve_on("127.0.0.1")
}

/// A server in this process, on a port of its own of this address.
pub(super) fn serve_on(ip: &str) -> Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).with_context(|| format!("listen on {ip}"))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(|| traffic::answer(stream));
        }
    });
    Ok(address)
}

/// Counters are floats on the wire; those of the tests are exact in them.
pub(super) fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).expect("the tests' numbers are small"))
}
