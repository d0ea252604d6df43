//! Address translation: `destination` is what was asked for, `actual_destination` where it ended, in exact numbers.

use std::io::Write;

use sonde_tests::nat::Nat;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::traffic::REPLY_BYTES;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker, serve, traffic};

const CONNECTS: u32 = 6;
const BYTES: u32 = 200_003;

/// What an agent says of [`exchange`], as PromQL.
fn series(owner: &str, service: &str, backend: &str) -> Vec<(String, f64)> {
    let labels =
        format!("container_id=\"{owner}\",destination=\"{service}\",actual_destination=\"{backend}\"");
    let name = |name: &str| format!("container_net_tcp_{name}{{{labels}}}");
    let connections = f64::from(CONNECTS + 1);
    vec![
        (name("successful_connects_total"), connections),
        (name("bytes_sent_total"), f64::from(BYTES)),
        (name("bytes_received_total"), connections * f64::from(REPLY_BYTES)),
        (name("active_connections"), 0.0),
        // And nothing of it is counted elsewhere.
        (
            format!(
                "count(container_net_tcp_successful_connects_total{{container_id=\"{owner}\",destination=\"{service}\"}})"
            ),
            1.0,
        ),
    ]
}

/// Connects and sends in exact numbers, by commands that `traffic` makes.
fn exchange(command: impl Fn() -> std::process::Command, service: &str) {
    run(command().args(["connect", service, &CONNECTS.to_string()]));
    run(command().args(["send", service, &BYTES.to_string()]));
}

/// A port that no other test uses.
fn port() -> u16 {
    free_address().port()
}

#[test]
fn services_lead_to_their_backends() {
    require!(
        Need::Root,
        Need::Tool("nft"),
        Need::Tool("ip"),
        Need::Tool("nsenter"),
        Need::Tool("prometheus"),
        Need::File("/proc/net/if_inet6")
    );
    let directory = tempfile::tempdir().expect("create a directory");
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let mut expected = Vec::new();

    // The host's own processes.
    let (service, backend) = (format!("127.77.0.1:{}", port()), free_address().to_string());
    let _nat = Nat::here().output(&service, &backend);
    let _server = serve(traffic(&[]), &backend, directory.path());
    exchange(|| traffic(&[]), &service);
    expected.extend(series("/host/traffic", &service, &backend));

    // Another network namespace with rules of its own, IPv4 and IPv6.
    let namespace = Netns::new();
    run(namespace.command("ip").args(["address", "add", "fd00:77::1/128", "dev", "lo", "nodad"]));
    let mut guards = Vec::new();
    for (ip, to) in [("127.77.0.2", "127.0.0.1"), ("[fd00:77::1]", "[::1]")] {
        let (service, backend) = (format!("{ip}:{}", port()), format!("{to}:{}", port()));
        let nat = Nat::inside(&namespace).output(&service, &backend);
        let directory = tempfile::tempdir().expect("create a directory");
        let server = serve(namespace.command(TRAFFIC), &backend, directory.path());
        exchange(|| namespace.command(TRAFFIC), &service);
        guards.push((nat, server, directory));
        expected.extend(series("/host/traffic", &service, &backend));
    }
    prometheus.promql().expect(&expected);
    let metrics = agent.metrics().expect("scrape");
    let failed = [("result", "failed")];
    assert_eq!(metrics.sum("sonde_agent_translations_total", &failed), 0.0, "a table did not answer");
}

#[test]
fn existing_connections_lead_to_their_backends_too() {
    require!(Need::Root, Need::Tool("nft"));
    let directory = tempfile::tempdir().expect("create a directory");
    let (service, backend) = (format!("127.77.0.3:{}", port()), free_address().to_string());
    let _nat = Nat::here().output(&service, &backend);
    let _server = serve(traffic(&[]), &backend, directory.path());
    let mut client = Process::start_with_input("client", traffic(&["hold", &service, "3"]), directory.path());
    wait::until("the client to connect", || {
        wait::ensure(client.output().contains("holding"), || client.output())
    });
    let agent = Sonde::agent().start();
    let labels = [
        ("container_id", "/host/traffic"),
        ("destination", service.as_str()),
        ("actual_destination", backend.as_str()),
    ];
    agent.expect(&[("container_net_tcp_active_connections", &labels, 3.0)]);
    let mut commands = client.take_input();
    writeln!(commands, "send 4321").expect("command the client");
    agent.expect(&[("container_net_tcp_bytes_sent_total", &labels, 4321.0)]);
    // The delay is that of the way to the backend.
    let agent_knows = |ip: &str| {
        let labels = [("container_id", "/host/traffic"), ("destination_ip", ip)];
        let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
        Ok::<_, String>(metrics.sum("container_net_latency_seconds", &labels) > 0.0)
    };
    let ip = |address: &str| address.split_once(':').expect("an address has a port").0.to_owned();
    wait::until("the delay of the way to the backend", || {
        let (of_backend, of_service) = (agent_knows(&ip(&backend))?, agent_knows(&ip(&service))?);
        wait::equal((of_backend, of_service), (true, false))
    });
    // The server's end of them is told apart, though the tables know it too.
    let listener = [("container_id", "/host/traffic"), ("listen_addr", backend.as_str())];
    agent.expect(&[("container_net_tcp_inbound_active_connections", &listener, 3.0)]);
}

#[test]
fn rules_of_iptables_are_seen_like_those_of_nftables() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("iptables-legacy"));
    let agent = Sonde::agent().start();
    let mut guards = Vec::new();
    let mut services = Vec::new();
    for iptables in ["iptables-nft", "iptables-legacy"] {
        let (namespace, directory) = (Netns::new(), tempfile::tempdir().expect("create a directory"));
        let (service, backend) = (format!("127.77.0.4:{}", port()), format!("127.0.0.1:{}", port()));
        let (ip, asked) = service.split_once(':').expect("an address has a port");
        let rule = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", ip, "--dport", asked, "-j", "DNAT"];
        run(namespace.command(iptables).args(rule).args(["--to-destination", &backend]));
        let server = serve(namespace.command(TRAFFIC), &backend, directory.path());
        exchange(|| namespace.command(TRAFFIC), &service);
        guards.push((namespace, server, directory));
        services.push((service, backend));
    }
    for (service, backend) in &services {
        let labels = [
            ("container_id", "/host/traffic"),
            ("destination", service.as_str()),
            ("actual_destination", backend.as_str()),
        ];
        agent.expect(&[
            ("container_net_tcp_successful_connects_total", &labels, f64::from(CONNECTS + 1)),
            ("container_net_tcp_bytes_sent_total", &labels, f64::from(BYTES)),
        ]);
    }
}

#[test]
fn a_container_reaches_a_published_port_through_two_translations() {
    require!(
        Need::Root,
        Need::Tool("dockerd"),
        Need::Tool("nft"),
        Need::Tool("nsenter"),
        Need::File("/bin/busybox")
    );
    let docker = docker();
    let server = docker.run("server", &[], &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let client = docker.run("client", &[], &["wait"]);
    let gateway = client.inspect("{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}");
    let (service, published) = (format!("{gateway}:{}", port()), format!("{gateway}:{}", port()));
    let backend = format!("{}:9000", server.ip());
    let agent = Sonde::agent().start();
    // As a container runtime does for a published port, on its bridge.
    let _forwarding = Forwarding::on("sonde-tests0");
    let _host = Nat::here().forward(&published, &backend);
    client.traffic(&["connect", &published, &CONNECTS.to_string()]);
    // And as a service mesh does inside a container.
    let _inside = Nat::of_process(&client.pid()).output(&service, &published);
    client.traffic(&["connect", &service, &CONNECTS.to_string()]);
    let id = client.id();
    for asked in [&published, &service] {
        let labels = [
            ("container_id", id.as_str()),
            ("destination", asked.as_str()),
            ("actual_destination", backend.as_str()),
        ];
        agent.expect(&[("container_net_tcp_successful_connects_total", &labels, f64::from(CONNECTS))]);
    }
}

/// Forwarding of packets that come from one interface, set back in the end.
struct Forwarding {
    file: String,
    before: String,
}

impl Forwarding {
    fn on(interface: &str) -> Self {
        let file = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
        let before = std::fs::read_to_string(&file).expect("read whether the bridge forwards");
        std::fs::write(&file, "1").expect("let the bridge forward");
        Self { file, before }
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.file, &self.before);
    }
}
