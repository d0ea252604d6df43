//! UDP: bytes, messages, failures and drops in exact numbers. Every sender is in a container or service of its own, since
//! the series do not tell peers apart.

use std::io::Write;
use std::process::Command;

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::docker::Container;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::traffic::REPLY_BYTES;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker};

const MESSAGES: u32 = 23;
const BYTES: u32 = 1_217;

/// A command that makes datagrams in a service.
pub fn udp(service: &ServiceCgroup, arguments: &[&str]) -> Command {
    let mut command = service.command(TRAFFIC);
    command.arg("udp").args(arguments);
    command
}

/// Starts a command that listens, and waits until it does; the second one is the address.
#[track_caller]
pub fn start(name: &str, command: Command, directory: &tempfile::TempDir) -> (Process, String) {
    let process = Process::start_with_input(name, command, directory.path());
    let address = wait::until("the server to listen", || {
        let output = process.output();
        let line = output.lines().find_map(|line| line.strip_prefix("listening "));
        line.map(str::to_owned).ok_or(output)
    });
    (process, address)
}

/// Sent and received: bytes, then messages.
#[track_caller]
pub fn expect(agent: &Sonde, id: &str, sent: (u32, u32), received: (u32, u32)) {
    let owner = [("container_id", id)];
    agent.expect(&[
        ("container_net_udp_bytes_sent_total", &owner, f64::from(sent.0)),
        ("container_net_udp_messages_sent_total", &owner, f64::from(sent.1)),
        ("container_net_udp_bytes_received_total", &owner, f64::from(received.0)),
        ("container_net_udp_messages_received_total", &owner, f64::from(received.1)),
    ]);
}

/// What a client that asked and a server that answered must show.
fn series(client: &Container<'_>, server: &Container<'_>) -> Vec<(String, f64)> {
    let name = |name: &str, container: &Container<'_>| {
        format!("container_net_udp_{name}_total{{container_id=\"{}\"}}", container.id())
    };
    let (asked, answered) = (f64::from(MESSAGES * BYTES), f64::from(MESSAGES * REPLY_BYTES));
    vec![
        (name("bytes_sent", client), asked),
        (name("bytes_received", client), answered),
        (name("bytes_received", server), asked),
        (name("bytes_sent", server), answered),
        (name("messages_sent", client), f64::from(MESSAGES)),
        (name("messages_received", server), f64::from(MESSAGES)),
    ]
}

#[test]
fn datagrams_of_containers_are_exact() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let server = docker.run("udp-server", &[], &["udp", "serve", "0.0.0.0:9100"]);
    server.wait_for("listening");
    let client = docker.run("udp-client", &[], &["wait"]);
    let address = format!("{}:9100", server.ip());
    client.traffic(&["udp", "ask", &address, &MESSAGES.to_string(), &BYTES.to_string()]);
    let refused = format!("{}:9101", server.ip());
    client.traffic(&["udp", "refused", &refused, "3"]);
    let mut expected = series(&client, &server);
    // Each refused one is a byte that was sent.
    expected[0].1 += 3.0;
    expected[4].1 += 3.0;
    let errors =
        format!("container_net_udp_errors_total{{container_id=\"{}\",reason=\"refused\"}}", client.id());
    expected.push((errors, 3.0));
    prometheus.promql().expect(&expected);
}

#[test]
fn packets_of_containers_are_counted_where_calls_cannot_be() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let missing = tempfile::tempdir().expect("create a directory").path().join("missing.btf");
    let agent =
        Sonde::agent().with("--btf", missing).with("--remote-write", prometheus.remote_write()).start();
    let status = agent.status();
    let probes = status["probes"].as_array().expect("a list of probes");
    let choice = probes.iter().find(|probe| probe["name"] == "udp/traffic").map(|probe| &probe["choice"]);
    assert_eq!(choice.and_then(|choice| choice.as_str()), Some("cgroup_skb"), "{status:#}");
    let server = docker.run("packet-server", &[], &["udp", "serve", "0.0.0.0:9100"]);
    server.wait_for("listening");
    let address = format!("{}:9100", server.ip());
    let (messages, bytes) = (MESSAGES.to_string(), BYTES.to_string());
    let client = docker.run("packet-client", &[], &["udp", "stay", &address, &messages, &bytes]);
    client.wait_for("asked");
    prometheus.promql().expect(&series(&client, &server));
    let errors = agent.metrics().expect("scrape").select("container_net_udp_errors_total", &[]).len();
    assert_eq!(errors, 0, "what is not measured is not shown");
}

#[test]
fn both_families_are_counted_in_another_namespace() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::File("/proc/net/if_inet6"));
    let directory = tempfile::tempdir().expect("create a directory");
    let (namespace, service) = (Netns::new(), ServiceCgroup::new("udp-families"));
    let inside = |arguments: &[&str]| {
        let mut command = service.command("nsenter");
        command.arg(format!("--net=/run/netns/{}", namespace.name())).args(["--", TRAFFIC, "udp"]);
        command.args(arguments);
        command
    };
    let agent = Sonde::agent().start();
    let (_four, four) = start("four", inside(&["serve", "127.0.0.1:0"]), &directory);
    let (_six, six) = start("six", inside(&["serve", "[::]:0"]), &directory);
    let port = six.rsplit(':').next().expect("an address has a port").to_owned();
    // The largest datagram there is; one that must be taken apart and put together; an empty one.
    run(&mut inside(&["ask", &four, "2", "65507"]));
    run(&mut inside(&["ask", &format!("[::1]:{port}"), "3", "65000"]));
    run(&mut inside(&["ask", &format!("[::1]:{port}"), "4", "0"]));
    // An IPv6 socket on the other side of an IPv4 datagram.
    run(&mut inside(&["ask", &format!("127.0.0.1:{port}"), "5", "100"]));
    let (messages, bytes) = (2 + 3 + 4 + 5, 2 * 65_507 + 3 * 65_000 + 5 * 100);
    let all = (bytes + messages * REPLY_BYTES, 2 * messages);
    expect(&agent, service.id(), all, all);
}

#[test]
fn a_full_receive_buffer_counts_what_it_drops() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let (owner, sender) = (ServiceCgroup::new("udp-hoard"), ServiceCgroup::new("udp-flood"));
    let agent = Sonde::agent().start();
    let (mut hoard, address) = start("hoard", udp(&owner, &["hoard", "127.0.0.1:0"]), &directory);
    let mut commands = hoard.take_input();
    run(&mut udp(&sender, &["send", &address, "50", "1000"]));
    writeln!(commands, "count").expect("command the hoard");
    let held: u32 = wait::until("the hoard to count", || {
        let output = hoard.output();
        let held = output.lines().find_map(|line| line.strip_prefix("held ")?.parse().ok());
        held.ok_or(output)
    });
    assert!(held > 0 && held < 50, "{held} of 50 datagrams found room");
    let labels = [("container_id", owner.id())];
    let drops = |dropped: u32| ("container_net_udp_receive_drops_total", &labels[..], f64::from(dropped));
    agent.expect(&[drops(50 - held)]);
    expect(&agent, sender.id(), (50_000, 50), (0, 0));

    // It is full again, drops all of these, and ends before a snapshot could look.
    run(&mut udp(&sender, &["send", &address, &held.to_string(), "1000"]));
    run(&mut udp(&sender, &["send", &address, "70", "1000"]));
    drop(hoard);
    agent.expect(&[drops(50 - held + 70)]);
}

#[test]
fn drops_from_before_the_agent_are_not_counted() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let (owner, sender) = (ServiceCgroup::new("udp-before"), ServiceCgroup::new("udp-before-sender"));
    let (_hoard, address) = start("hoard", udp(&owner, &["hoard", "127.0.0.1:0"]), &directory);
    run(&mut udp(&sender, &["send", &address, "50", "1000"]));
    let agent = Sonde::agent().start();
    let labels = [("container_id", owner.id())];
    agent.expect(&[("container_net_udp_receive_drops_total", &labels, 0.0)]);
    run(&mut udp(&sender, &["send", &address, "9", "1000"]));
    agent.expect(&[("container_net_udp_receive_drops_total", &labels, 9.0)]);
}

#[test]
fn senders_that_live_for_a_moment_are_counted() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let (sink, senders) = (ServiceCgroup::new("udp-sink"), ServiceCgroup::new("udp-brief"));
    let agent = Sonde::agent().start();
    let (_sink, address) = start("sink", udp(&sink, &["sink", "127.0.0.1:0"]), &directory);
    for _ in 0..150 {
        run(&mut udp(&senders, &["send", &address, "1", "40"]));
    }
    expect(&agent, senders.id(), (6000, 150), (0, 0));
    expect(&agent, sink.id(), (0, 0), (6000, 150));
    // What the kernel half remembers of them goes with them.
    wait::until("the senders to be forgotten", || {
        let metrics = agent.metrics()?;
        let entries = metrics.value("sonde_agent_map_entries", &[("map", "UDP_BY_OWNER")])?;
        anyhow::ensure!(entries < 100.0, "{entries} processes are remembered");
        Ok(())
    });
    expect(&agent, senders.id(), (6000, 150), (0, 0));
}

#[test]
fn many_sockets_of_one_process_add_up() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let (server, client) = (ServiceCgroup::new("udp-many-server"), ServiceCgroup::new("udp-many"));
    let agent = Sonde::agent().start();
    let (_server, address) = start("server", udp(&server, &["serve", "127.0.0.1:0"]), &directory);
    run(&mut udp(&client, &["many", &address, "700", "11"]));
    expect(&agent, client.id(), (7700, 700), (700 * REPLY_BYTES, 700));
    expect(&agent, server.id(), (700 * REPLY_BYTES, 700), (7700, 700));
}

#[test]
fn failures_have_a_reason() {
    require!(Need::Root);
    let closed = sonde_tests::process::free_address().to_string();
    let service = ServiceCgroup::new("udp-failures");
    let agent = Sonde::agent().start();
    run(&mut udp(&service, &["refused", &closed, "4"]));
    run(&mut udp(&service, &["too-large", &closed, "6"]));
    let count = |reason: &'static str| [("container_id", service.id()), ("reason", reason)];
    agent.expect(&[
        ("container_net_udp_errors_total", &count("refused"), 4.0),
        ("container_net_udp_errors_total", &count("too_large"), 6.0),
        ("container_net_udp_errors_total", &count("send_buffer_full"), 0.0),
    ]);
    expect(&agent, service.id(), (4, 4), (0, 0));
}

#[test]
fn segmentation_offload_counts_every_byte() {
    require!(Need::Root, Need::Tool("python3"));
    let directory = tempfile::tempdir().expect("create a directory");
    let (sink, sender) = (ServiceCgroup::new("udp-gso-sink"), ServiceCgroup::new("udp-gso"));
    let agent = Sonde::agent().start();
    let (_sink, address) = start("sink", udp(&sink, &["sink", "127.0.0.1:0"]), &directory);
    let port = address.rsplit(':').next().expect("an address has a port");
    // Five calls of 12,345 bytes each, which become 13 datagrams of at most 1,000 bytes.
    let script = format!(
        "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.setsockopt(17, 103, 1000)\n\
         [s.sendto(b'x' * 12345, ('127.0.0.1', {port})) for _ in range(5)]"
    );
    run(sender.command("python3").args(["-c", &script]));
    expect(&agent, sender.id(), (61_725, 5), (0, 0));
    expect(&agent, sink.id(), (0, 0), (61_725, 65));
}

#[test]
fn a_probe_that_is_off_shows_nothing() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let service = ServiceCgroup::new("udp-off");
    let agent = Sonde::agent().with("--probe", "udp=off").start();
    let (_server, address) = start("server", udp(&service, &["serve", "127.0.0.1:0"]), &directory);
    run(&mut udp(&service, &["ask", &address, "3", "10"]));
    let metrics = agent.metrics().expect("scrape");
    for name in ["bytes_sent_total", "receive_drops_total", "errors_total"] {
        assert!(metrics.select(&format!("container_net_udp_{name}"), &[]).is_empty(), "{name} is shown");
    }
    let off = [("probe", "udp/traffic"), ("verdict", "disabled")];
    assert_eq!(metrics.value("sonde_agent_probe_state", &off).expect("a verdict"), 1.0);
}
