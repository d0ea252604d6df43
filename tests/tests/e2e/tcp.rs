//! TCP: connects, failures and bytes of real containers in exact numbers, asked from real servers.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::docker::Container;
use sonde_tests::exposition::Sample;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::traffic::REPLY_BYTES;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker, serve, traffic};

const CONNECTS: u32 = 17;
const REFUSED: u32 = 5;
const BYTES: u32 = 3_000_017;

/// Everything that a server must know about the client's traffic.
fn client_series(client: &Container<'_>, destination: &str, closed: &str) -> Vec<(String, f64)> {
    let id = client.id();
    let both =
        format!("container_id=\"{id}\",destination=\"{destination}\",actual_destination=\"{destination}\"");
    let name = |name: &str, labels: &str| format!("container_net_tcp_{name}{{{labels}}}");
    let connections = f64::from(CONNECTS + 1);
    let failed = format!("container_id=\"{id}\",destination=\"{closed}\"");
    vec![
        (name("successful_connects_total", &both), connections),
        (name("failed_connects_total", &failed), f64::from(REFUSED)),
        (name("bytes_sent_total", &both), f64::from(BYTES)),
        (name("bytes_received_total", &both), connections * f64::from(REPLY_BYTES)),
        (name("active_connections", &both), 0.0),
    ]
}

/// The client shows in no other series than those of its traffic.
fn counts_of_series(client: &Container<'_>) -> Vec<String> {
    let names = ["successful_connects_total", "bytes_sent_total", "failed_connects_total"];
    let series = names.map(|name| format!("container_net_tcp_{name}{{container_id=\"{}\"}}", client.id()));
    series.map(|series| format!("count({series})")).into()
}

/// The other side's view.
fn server_series(container: &Container<'_>, address: &str) -> Vec<(String, f64)> {
    let listener = format!("container_id=\"{}\",listen_addr=\"{address}\"", container.id());
    let name = |name: &str| format!("container_net_tcp_{name}{{{listener}}}");
    vec![
        (name("listen_info"), 1.0),
        (name("inbound_connections_total"), f64::from(CONNECTS + 1)),
        (name("inbound_bytes_received_total"), f64::from(BYTES)),
    ]
}

#[test]
fn counts_of_containers_are_exact_when_pushed_and_when_pulled() {
    require!(
        Need::Root,
        Need::Tool("dockerd"),
        Need::File("/bin/busybox"),
        Need::Tool("prometheus"),
        Need::Tool("victoria-metrics")
    );
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let victoria = Tsdb::start(Kind::VictoriaMetrics);
    let agent = Sonde::agent()
        .with("--remote-write", prometheus.remote_write())
        .with("--remote-write", victoria.remote_write())
        .start();
    let pulling = Tsdb::start(Kind::PrometheusScraping(agent.address()));

    let server = docker.run("server", &[], &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let client = docker.run("client", &[], &["wait"]);
    let destination = format!("{}:9000", server.ip());
    let closed = format!("{}:9001", server.ip());
    client.traffic(&["connect", &destination, &CONNECTS.to_string()]);
    client.traffic(&["refused", &closed, &REFUSED.to_string()]);
    client.traffic(&["send", &destination, &BYTES.to_string()]);

    let mut expected = client_series(&client, &destination, &closed);
    expected.extend(server_series(&server, &destination));
    let info = format!("container_info{{container_id=\"{}\",image=\"{}\"}}", client.id(), docker.image());
    expected.push((info, 1.0));
    for tsdb in [&prometheus, &victoria, &pulling] {
        tsdb.promql().expect(&expected);
        for count in counts_of_series(&client) {
            tsdb.promql().expect_now(&count, 1.0);
        }
    }
    let time = format!("container_net_tcp_connection_time_seconds_total{{container_id=\"{}\"}}", client.id());
    let seconds = prometheus.promql().value(&time).expect("the time of the connects");
    assert!(seconds > 0.0 && seconds < 10.0, "{CONNECTS} connects took {seconds} s");
    let pushed = prometheus.promql().series(&format!("container_info{{container_id=\"{}\"}}", client.id()));
    let pushed = pushed.expect("ask for the pushed series");
    assert_eq!(pushed[0].labels["job"], "sonde-agent");
    for label in ["machine_id", "system_uuid", "instance"] {
        assert!(!pushed[0].labels[label].is_empty(), "{label} is empty");
    }
}

#[test]
fn connections_from_before_the_agent_are_a_baseline() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    let mut client = Process::start_with_input("client", traffic(&["hold", &address, "3"]), directory.path());
    let mut commands = client.take_input();
    let mut send = |bytes: u32| {
        writeln!(commands, "send {bytes}").expect("command the client");
        let said = format!("sent {bytes}\n");
        wait::until("the client to send", || {
            wait::ensure(client.output().contains(&said), || client.output())
        });
    };
    send(70_001);

    let mut agent = Sonde::agent().start();
    let labels = [("container_id", "/host/traffic"), ("destination", address.as_str())];
    agent.expect(&[("container_net_tcp_active_connections", &labels, 3.0)]);
    send(1234);
    agent.expect(&[("container_net_tcp_bytes_sent_total", &labels, 1234.0)]);
    let metrics = agent.metrics().expect("scrape");
    assert_eq!(metrics.sum("container_net_tcp_successful_connects_total", &labels), 0.0, "nothing connected");
    let listener = [("container_id", "/host/traffic"), ("listen_addr", address.as_str())];
    assert_eq!(metrics.sum("container_net_tcp_inbound_connections_total", &listener), 0.0);
    agent.expect(&[("container_net_tcp_inbound_active_connections", &listener, 3.0)]);

    // A restart finds them again and starts from zero.
    agent.stop();
    agent.resume();
    agent.expect(&[("container_net_tcp_active_connections", &labels, 3.0)]);
    send(99);
    agent.expect(&[("container_net_tcp_bytes_sent_total", &labels, 99.0)]);
    drop(client);
    agent.expect(&[("container_net_tcp_active_connections", &labels, 0.0)]);
}

#[test]
fn connections_made_while_the_agent_starts_have_their_owners() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    let client = Process::start("client", traffic(&["connect", &address, "1000000"]), directory.path());
    let agent = Sonde::agent().start();
    drop(client);
    let outbound = [("container_id", "/host/traffic"), ("destination", address.as_str())];
    let inbound = [("container_id", "/host/traffic"), ("listen_addr", address.as_str())];
    agent.expect(&[
        ("container_net_tcp_active_connections", &outbound, 0.0),
        ("container_net_tcp_inbound_active_connections", &inbound, 0.0),
    ]);
    let metrics = agent.metrics().expect("scrape");
    let connected = metrics.sum("container_net_tcp_successful_connects_total", &outbound);
    let accepted = metrics.sum("container_net_tcp_inbound_connections_total", &inbound);
    assert!(connected > 0.0, "the client was seen");
    // The programs may have been attached between the two ends of one, and the client was killed within another.
    assert!((connected - accepted).abs() <= 2.0, "{connected} connected, {accepted} accepted");
    // Who connects is told at the SYN: nobody has told it of the one whose handshake had begun when they were attached.
    let unowned = metrics.sum("sonde_agent_connections_unowned_total", &[]);
    assert!(unowned <= 1.0, "{unowned} of {accepted} have no owner");
}

#[test]
fn another_network_namespace_is_seen_with_its_owner() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let address = free_address().to_string();
    let start = |name: &str, arguments: &[&str]| {
        let mut command = namespace.command(TRAFFIC);
        command.args(arguments);
        Process::start_with_input(name, command, directory.path())
    };
    let _server = serve(namespace.command(TRAFFIC), &address, directory.path());
    let _before = start("before", &["hold", &address, "2"]);
    let agent = Sonde::agent().start();
    let _after = start("after", &["hold", &address, "1"]);
    let labels = [("container_id", "/host/traffic"), ("destination", address.as_str())];
    let listener = [("container_id", "/host/traffic"), ("listen_addr", address.as_str())];
    agent.expect(&[
        ("container_net_tcp_active_connections", &labels, 3.0),
        ("container_net_tcp_successful_connects_total", &labels, 1.0),
        ("container_net_tcp_listen_info", &listener, 1.0),
    ]);
}

#[test]
fn the_loopback_of_another_namespace_is_not_taken_for_the_nodes() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let (inside, outside) = (free_address().to_string(), free_address().to_string());
    let start = |name: &str, mut command: Command, address: &str| {
        command.args(["hold", address, "1"]);
        Process::start_with_input(name, command, directory.path())
    };
    let _servers = [
        serve(namespace.command(TRAFFIC), &inside, directory.path()),
        serve(traffic(&[]), &outside, directory.path()),
    ];
    let _before = start("before", namespace.command(TRAFFIC), &inside);
    let agent = Sonde::agent().with_env("SONDE_CONTAINER_LOOPBACK", "false").start();
    let _after = [start("after", namespace.command(TRAFFIC), &inside), start("host", traffic(&[]), &outside)];
    let id = ("container_id", "/host/traffic");
    let seen = [id, ("listen_addr", inside.as_str())];
    let host = [[id, ("destination", outside.as_str())], [id, ("listen_addr", outside.as_str())]];
    agent.expect(&[
        ("container_net_tcp_inbound_active_connections", &seen, 2.0),
        ("container_net_tcp_active_connections", &host[0], 1.0),
        ("container_net_tcp_listen_info", &host[1], 1.0),
    ]);
    let metrics = agent.metrics().expect("scrape");
    let address = Some(&inside);
    let told = |label| metrics.samples.iter().filter(move |sample| sample.labels.get(label) == address);
    let name = |sample: &Sample| sample.labels.get("__name__").cloned();
    let names: BTreeSet<String> = told("destination").filter_map(name).collect();
    assert!(names.is_empty(), "{names:?}");
    assert!(!told("listen_addr").filter_map(name).any(|name| name == "container_net_tcp_listen_info"));
    assert_eq!(metrics.sum("sonde_agent_connections_unowned_total", &[]), 0.0);
}

#[test]
fn a_service_owns_its_connections() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let agent = Sonde::agent().start();
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    let service = ServiceCgroup::new("sonde-test");
    let mut command = service.command(TRAFFIC);
    command.args(["hold", &address, "4"]);
    let _client = Process::start_with_input("client", command, directory.path());
    let labels = [("container_id", service.id()), ("destination", &address)];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &labels, 4.0),
        ("container_net_tcp_active_connections", &labels, 4.0),
    ]);
    let metrics = agent.metrics().expect("scrape");
    let host = [("container_id", "/host/traffic"), ("destination", address.as_str())];
    assert_eq!(metrics.sum("container_net_tcp_successful_connects_total", &host), 0.0, "counted twice");
}

#[test]
fn bytes_stay_exact_when_segments_are_lost() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("nft"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let address = free_address().to_string();
    // Every seventh segment with payload is lost on its way to the server.
    let port = address.rsplit(':').next().expect("an address has a port");
    let rules = format!(
        "add table inet loss; \
         add chain inet loss input {{ type filter hook input priority 0; }}; \
         add rule inet loss input tcp dport {port} meta length > 1000 numgen inc mod 7 == 0 drop"
    );
    run(namespace.command("nft").arg(&rules));
    let agent = Sonde::agent().start();
    let _server = serve(namespace.command(TRAFFIC), &address, directory.path());
    run(namespace.command(TRAFFIC).args(["send", &address, &BYTES.to_string()]));
    let labels = [("container_id", "/host/traffic"), ("destination", address.as_str())];
    let listener = [("container_id", "/host/traffic"), ("listen_addr", address.as_str())];
    agent.expect(&[
        ("container_net_tcp_bytes_sent_total", &labels, f64::from(BYTES)),
        ("container_net_tcp_bytes_received_total", &labels, f64::from(REPLY_BYTES)),
        ("container_net_tcp_inbound_bytes_received_total", &listener, f64::from(BYTES)),
        ("container_net_tcp_inbound_bytes_sent_total", &listener, f64::from(REPLY_BYTES)),
    ]);
    let metrics = agent.metrics().expect("scrape");
    let retransmits = metrics.value("container_net_tcp_retransmits_total", &labels).expect("retransmits");
    assert!(retransmits >= 1.0, "segments were lost and none was sent again");
}

#[test]
fn ipv6_is_measured_like_ipv4_and_a_mapped_address_is_ipv4() {
    require!(Need::Root, Need::File("/proc/net/if_inet6"));
    let directory = tempfile::tempdir().expect("create a directory");
    let agent = Sonde::agent().start();
    let port = free_address().port();
    let address = format!("[::1]:{port}");
    let _server = serve(traffic(&[]), &format!("[::]:{port}"), directory.path());
    run(&mut traffic(&["connect", &address, "3"]));
    run(&mut traffic(&["send", &address, "4321"]));
    // The server's side of this one is an IPv6 socket with an IPv4 connection.
    run(&mut traffic(&["connect", &format!("[::ffff:127.0.0.1]:{port}"), "2"]));
    let owner = ("container_id", "/host/traffic");
    let ipv4 = format!("127.0.0.1:{port}");
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &[owner, ("destination", &address)], 4.0),
        ("container_net_tcp_bytes_sent_total", &[owner, ("destination", &address)], 4321.0),
        ("container_net_tcp_successful_connects_total", &[owner, ("destination", &ipv4)], 2.0),
        ("container_net_tcp_listen_info", &[owner, ("listen_addr", &address)], 1.0),
        ("container_net_tcp_inbound_connections_total", &[owner, ("listen_addr", &address)], 4.0),
        ("container_net_tcp_inbound_connections_total", &[owner, ("listen_addr", &ipv4)], 2.0),
    ]);
}
