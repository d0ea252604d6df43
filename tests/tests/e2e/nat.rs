//! Address translation: `destination` is what was asked for, `actual_destination` where it ended, in exact numbers.

use sonde_tests::nat::Nat;
use sonde_tests::netns::Netns;
use sonde_tests::process::{free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::require;
use sonde_tests::skip::Need;
use sonde_tests::traffic::REPLY_BYTES;
use sonde_tests::tsdb::{Kind, Tsdb};

use crate::support::{TRAFFIC, serve, traffic};

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
    for failure in ["failed", "skipped"] {
        let labels = [("result", failure)];
        assert_eq!(metrics.sum("sonde_agent_translations_total", &labels), 0.0, "{failure} translations");
    }
}
