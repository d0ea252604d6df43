//! What goes wrong between real containers: every reason of a failed connect, and segments lost on the way, in exact
//! numbers at `/metrics` and in Prometheus.

use sonde_tests::docker::{Container, Docker};
use sonde_tests::process::run;
use sonde_tests::product::Sonde;
use sonde_tests::require;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};

use crate::kernel_numbers::column;
use crate::support::docker;

/// Arguments of the traffic program around the destination's port, number, reason.
const CASES: &[(&str, u16, u32, &str, &str)] = &[
    ("fail", 9001, 3, "ECONNREFUSED", "refused"),
    ("fail", 9002, 4, "ETIMEDOUT", "timeout"),
    ("fail", 9003, 2, "EHOSTUNREACH", "host_unreachable"),
    ("fail", 9004, 5, "ENETUNREACH", "network_unreachable"),
    ("fail", 9005, 6, "ECONNREFUSED", "refused"),
    ("abandon", 9006, 7, "", "aborted"),
];
/// Resets in the middle of a handshake, which the client plays against itself.
const RESETS: u32 = 3;
const ITSELF: &str = "127.0.0.2:9007";

/// Rules for the segments that leave or reach a container.
fn rules(container: &Container<'_>, hook: &str, rules: &[&str]) {
    let chain = format!(
        "add table inet fate; add chain inet fate {hook} {{ type filter hook {hook} priority 0; }}; "
    );
    let rules: String = rules.iter().map(|rule| format!("add rule inet fate {hook} {rule}; ")).collect();
    run(container.inside("nft").arg(chain + &rules));
}

fn counted<'d>(docker: &'d Docker, name: &str, arguments: &[&str]) -> (Container<'d>, String) {
    let container = docker.run(name, &[], arguments);
    let id = container.id();
    (container, id)
}

#[test]
fn a_container_fails_for_every_reason_in_exact_numbers() {
    require!(
        Need::Root,
        Need::Tool("dockerd"),
        Need::File("/bin/busybox"),
        Need::Tool("nsenter"),
        Need::Tool("nft"),
        Need::Tool("prometheus")
    );
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let server = docker.run("server", &[], &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let (client, id) = counted(&docker, "client", &["wait"]);
    run(client.inside("sh").args(["-c", "echo 1 > /proc/sys/net/ipv4/tcp_syn_retries"]));
    run(server.inside("sh").args(["-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit"]));
    // A black hole in the client's own namespace, and what the way to the server says of other ports.
    rules(&client, "output", &["tcp dport { 9002, 9006 } drop"]);
    rules(&client, "input", &["tcp dport 9007 drop"]);
    rules(
        &server,
        "input",
        &[
            "tcp dport 9003 reject with icmp type host-unreachable",
            "tcp dport 9004 reject with icmp type net-unreachable",
            "tcp dport 9005 reject with tcp reset",
        ],
    );
    let address = |port: u16| format!("{}:{port}", server.ip());
    for (how, port, count, error, _) in CASES {
        let (destination, count) = (address(*port), count.to_string());
        let mut arguments = vec![*how, destination.as_str(), count.as_str()];
        arguments.extend(Some(*error).filter(|error| !error.is_empty()));
        client.traffic(&arguments);
    }
    client.traffic(&["half-reset", ITSELF, &RESETS.to_string()]);

    let resets = (ITSELF.to_owned(), RESETS, "reset");
    let cases = CASES.iter().map(|(_, port, count, _, reason)| (address(*port), *count, *reason));
    let cases: Vec<(String, u32, &str)> = cases.chain([resets]).collect();
    let all = format!("container_net_tcp_failed_connects_total{{container_id=\"{id}\"");
    let by_reason = format!("container_net_tcp_connect_failures_total{{container_id=\"{id}\"");
    let mut expected = Vec::new();
    for (destination, count, reason) in &cases {
        let count = f64::from(*count);
        expected.push((format!("{all},destination=\"{destination}\"}}"), count));
        expected.push((format!("{by_reason},destination=\"{destination}\",reason=\"{reason}\"}}"), count));
        expected.push((format!("sum({by_reason},destination=\"{destination}\"}})"), count));
    }
    prometheus.promql().expect(&expected[..2]);
    for (expression, count) in &expected {
        prometheus.promql().expect_now(expression, *count);
    }
    let sum: u32 = cases.iter().map(|(_, count, _)| count).sum();
    prometheus.promql().expect_now(&format!("sum({by_reason}}})"), f64::from(sum));
    for (destination, count, reason) in &cases {
        let labels = [("container_id", id.as_str()), ("destination", destination), ("reason", *reason)];
        agent.expect(&[("container_net_tcp_connect_failures_total", &labels, f64::from(*count))]);
    }
    let connected = agent.metrics().expect("scrape");
    let labels = [("container_id", id.as_str())];
    assert!(connected.select("container_net_tcp_successful_connects_total", &labels).is_empty());
}

/// The kernel's own count of segments that a namespace sent again.
fn retransmitted(container: &Container<'_>) -> f64 {
    column(&run(container.inside("cat").arg("/proc/self/net/snmp")), "Tcp", "RetransSegs")
}

#[test]
fn what_containers_send_again_is_what_the_kernel_counts_on_both_sides() {
    require!(
        Need::Root,
        Need::Tool("dockerd"),
        Need::File("/bin/busybox"),
        Need::Tool("ip"),
        Need::Tool("nsenter"),
        Need::Tool("nft"),
        Need::Tool("prometheus")
    );
    const BYTES: u32 = 3_000_017;
    const ANSWERS: u32 = 24;
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let (server, server_id) = counted(&docker, "server", &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let (client, client_id) = counted(&docker, "client", &["wait"]);
    // One segment per packet, so that some of two thousand are lost, and not most of a few.
    run(client.inside("ip").args(["link", "set", "eth0", "gso_max_segs", "1"]));
    // On its way to the server payload is lost by chance, on the way back every third answer.
    rules(&server, "input", &["tcp dport 9000 meta length > 1000 numgen random mod 50 == 0 drop"]);
    rules(
        &client,
        "input",
        &["tcp sport 9000 meta length > 52 tcp flags & syn == 0 numgen inc mod 3 == 0 drop"],
    );
    let address = format!("{}:9000", server.ip());
    client.traffic(&["send", &address, &BYTES.to_string()]);
    client.traffic(&["connect", &address, &ANSWERS.to_string()]);

    let outbound = [("container_id", client_id.as_str()), ("destination", address.as_str())];
    let inbound = [("container_id", server_id.as_str()), ("listen_addr", address.as_str())];
    agent.expect(&[
        ("container_net_tcp_bytes_sent_total", &outbound, f64::from(BYTES)),
        ("container_net_tcp_active_connections", &outbound, 0.0),
        ("container_net_tcp_inbound_active_connections", &inbound, 0.0),
    ]);
    let (sent, answered) = (retransmitted(&client), retransmitted(&server));
    assert!(sent >= 1.0 && answered >= f64::from(ANSWERS / 3), "{sent} and {answered} segments sent again");
    agent.expect(&[
        ("container_net_tcp_retransmits_total", &outbound, sent),
        ("container_net_tcp_inbound_retransmits_total", &inbound, answered),
        ("container_net_tcp_inbound_bytes_received_total", &inbound, f64::from(BYTES)),
    ]);
    let name = |metric: &str, id: &str, label: &str| {
        format!("container_net_tcp_{metric}{{container_id=\"{id}\",{label}=\"{address}\"}}")
    };
    prometheus.promql().expect(&[
        (name("retransmits_total", &client_id, "destination"), sent),
        (name("inbound_retransmits_total", &server_id, "listen_addr"), answered),
    ]);
    assert_eq!((retransmitted(&client), retransmitted(&server)), (sent, answered), "the kernel went on");
}
