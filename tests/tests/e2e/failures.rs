//! Connections that fail: each reason made in a known number, in namespaces and in a container.

use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::require;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};

use crate::support::{TRAFFIC, docker, serve};

const OWNER: (&str, &str) = ("container_id", "/host/traffic");

/// What happens to segments for some ports, on their way in.
const RULES: &str = "add table inet fate; \
    add chain inet fate input { type filter hook input priority 0; }; \
    add rule inet fate input tcp dport 7000 drop; \
    add rule inet fate input tcp dport 7001 drop; \
    add rule inet fate input ip daddr 127.0.0.1 tcp dport 7002 reject with icmp type host-unreachable; \
    add rule inet fate input ip daddr 127.0.0.1 tcp dport 7003 reject with icmp type net-unreachable; \
    add rule inet fate input ip daddr 127.0.0.1 tcp dport 7004 reject with icmp type port-unreachable; \
    add rule inet fate input ip6 daddr ::1 tcp dport 7002 reject with icmpv6 type addr-unreachable; \
    add rule inet fate input ip6 daddr ::1 tcp dport 7003 reject with icmpv6 type no-route; \
    add rule inet fate input ip6 daddr ::1 tcp dport 7005 reject with icmpv6 type admin-prohibited";

/// Attempts that fail.
#[derive(Debug)]
struct Case {
    destination: &'static str,
    /// What the traffic program is to do.
    how: &'static str,
    count: u32,
    /// The error that it expects; none where it does not wait for one.
    error: Option<&'static str>,
    /// The reason that Sonde is to show.
    reason: &'static str,
}

impl Case {
    /// An attempt that the kernel ends with an error.
    const fn fail(destination: &'static str, count: u32, error: &'static str, reason: &'static str) -> Self {
        Self { destination, how: "fail", count, error: Some(error), reason }
    }

    /// An attempt that ends otherwise.
    const fn other(destination: &'static str, how: &'static str, count: u32, reason: &'static str) -> Self {
        Self { destination, how, count, error: None, reason }
    }

    /// Arguments of the traffic program.
    fn arguments(&self) -> Vec<String> {
        let words = [self.how, self.destination].map(str::to_owned);
        words.into_iter().chain([self.count.to_string()]).chain(self.error.map(str::to_owned)).collect()
    }
}

const CASES: &[Case] = &[
    Case::fail("127.0.0.1:7009", 2, "ECONNREFUSED", "refused"),
    Case::fail("[::1]:7009", 3, "ECONNREFUSED", "refused"),
    Case::fail("127.0.0.1:7004", 2, "ECONNREFUSED", "refused"),
    Case::fail("127.0.0.1:7001", 4, "ETIMEDOUT", "timeout"),
    Case::fail("[::1]:7001", 5, "ETIMEDOUT", "timeout"),
    Case::fail("127.0.0.1:7002", 3, "EHOSTUNREACH", "host_unreachable"),
    Case::fail("[::1]:7002", 2, "EHOSTUNREACH", "host_unreachable"),
    Case::fail("127.0.0.1:7003", 2, "ENETUNREACH", "network_unreachable"),
    Case::fail("[::1]:7003", 3, "ENETUNREACH", "network_unreachable"),
    Case::fail("[::1]:7005", 2, "EACCES", "permission"),
    Case::other("127.0.0.1:7000", "abandon", 6, "aborted"),
    Case::other("[::1]:7000", "abandon", 7, "aborted"),
    Case::other("127.0.0.2:7000", "half-reset", 3, "reset"),
];

/// A setting of the kernel for one network namespace.
fn set(namespace: &Netns, name: &str, value: &str) {
    run(namespace.command("sh").args(["-c", &format!("echo {value} > /proc/sys/net/ipv4/{name}")]));
}

/// That many failures, and all of them for one reason.
fn expect(agent: &Sonde, destination: &str, count: u32, reason: &str) {
    let all = [OWNER, ("destination", destination)];
    let for_reason = [OWNER, ("destination", destination), ("reason", reason)];
    agent.expect(&[
        ("container_net_tcp_failed_connects_total", &all, f64::from(count)),
        ("container_net_tcp_connect_failures_total", &for_reason, f64::from(count)),
    ]);
    let sum = agent.metrics().expect("scrape").sum("container_net_tcp_connect_failures_total", &all);
    assert!(sum.total_cmp(&f64::from(count)).is_eq(), "{destination}: {sum} failures for all reasons");
}

#[test]
fn every_failure_has_the_kernels_reason() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("nft"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    set(&namespace, "tcp_syn_retries", "1");
    run(namespace.command("nft").arg(RULES));
    let agent = Sonde::agent().start();
    let start = |case: &Case| {
        let mut command = namespace.command(TRAFFIC);
        command.args(case.arguments());
        Process::start("client", command, directory.path())
    };
    let clients: Vec<Process> = CASES.iter().map(start).collect();
    for (mut client, case) in clients.into_iter().zip(CASES) {
        assert!(client.wait().success(), "{case:?}: {}", client.output());
    }
    for case in CASES {
        expect(&agent, case.destination, case.count, case.reason);
    }
}

#[test]
fn a_host_without_free_ports_fails_before_it_sends() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    set(&namespace, "ip_local_port_range", "'40000 40000'");
    let agent = Sonde::agent().start();
    let address = free_address().to_string();
    let _server = serve(namespace.command(TRAFFIC), &address, directory.path());
    let mut command = namespace.command(TRAFFIC);
    command.args(["hold", &address, "1"]);
    let _client = Process::start_with_input("client", command, directory.path());
    agent.expect(&[("container_net_tcp_active_connections", &[OWNER, ("destination", &address)], 1.0)]);
    run(namespace.command(TRAFFIC).args(["fail", &address, "4", "EADDRNOTAVAIL"]));
    expect(&agent, &address, 4, "address_unavailable");
}

#[test]
fn a_container_sees_its_failures_and_its_handshakes_in_prometheus() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let server = docker.run("server", &[], &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let client = docker.run("client", &[], &["wait"]);
    let (open, closed) = (format!("{}:9000", server.ip()), format!("{}:9001", server.ip()));
    client.traffic(&["connect", &open, "13"]);
    client.traffic(&["refused", &closed, "3"]);
    let id = client.id();
    let to =
        |metric: &str, labels: &str| format!("container_net_tcp_{metric}{{container_id=\"{id}\",{labels}}}");
    let both = format!("destination=\"{open}\",actual_destination=\"{open}\"");
    let slowest = format!("{both},le=\"60.0\"");
    prometheus.promql().expect(&[
        (to("connect_failures_total", &format!("destination=\"{closed}\",reason=\"refused\"")), 3.0),
        (to("connect_duration_seconds_count", &both), 13.0),
        (to("connect_duration_seconds_bucket", &slowest), 13.0),
    ]);
    let promql = prometheus.promql();
    let [sum, total] = ["connect_duration_seconds_sum", "connection_time_seconds_total"]
        .map(|metric| promql.value(&to(metric, &both)).expect("the time of the handshakes"));
    assert!((sum - total).abs() < 1e-9 && sum > 0.0, "{sum} s in the histogram, {total} s in the total");
}

#[test]
fn a_container_has_the_reason_of_every_failure_in_prometheus() {
    require!(
        Need::Root,
        Need::Tool("dockerd"),
        Need::File("/bin/busybox"),
        Need::Tool("prometheus"),
        Need::Tool("nsenter"),
        Need::Tool("nft")
    );
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let client = docker.run("failing", &[], &["wait"]);
    // Docker takes IPv6 away where it gives no address of it.
    let settings =
        "echo 1 > /proc/sys/net/ipv4/tcp_syn_retries; echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6";
    run(client.inside("sh").args(["-c", settings]));
    run(client.inside("nft").arg(RULES));
    std::thread::scope(|scope| {
        for case in CASES {
            let client = &client;
            scope.spawn(move || {
                let arguments = case.arguments();
                client.traffic(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
            });
        }
    });
    let id = client.id();
    let name =
        |labels: &str| format!("container_net_tcp_connect_failures_total{{container_id=\"{id}\"{labels}}}");
    let each = CASES.iter().map(|Case { destination, count, reason, .. }| {
        (name(&format!(",destination=\"{destination}\",reason=\"{reason}\"")), f64::from(*count))
    });
    let mut expected: Vec<_> = each.collect();
    for reason in CASES.iter().map(|case| case.reason) {
        let sum: u32 = CASES.iter().filter(|case| case.reason == reason).map(|case| case.count).sum();
        expected.push((format!("sum({})", name(&format!(",reason=\"{reason}\""))), f64::from(sum)));
    }
    let all: u32 = CASES.iter().map(|case| case.count).sum();
    let failed = format!("sum(container_net_tcp_failed_connects_total{{container_id=\"{id}\"}})");
    expected.extend([(failed, f64::from(all)), (format!("sum({})", name("")), f64::from(all))]);
    // No attempt has become a connection.
    let connected = format!("container_net_tcp_successful_connects_total{{container_id=\"{id}\"}}");
    expected.push((format!("sum({connected}) or vector(0)"), 0.0));
    prometheus.promql().expect(&expected);
}

#[test]
fn a_lost_syn_shows_in_the_histogram() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("nft"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let address = free_address().to_string();
    let port = address.rsplit(':').next().expect("an address has a port");
    // The first of every four SYNs is lost: connections one after the other, each of one SYN, but for the first.
    let rules = format!(
        "add table inet loss; \
         add chain inet loss input {{ type filter hook input priority 0; }}; \
         add rule inet loss input tcp dport {port} tcp flags & (syn | ack) == syn numgen inc mod 4 == 0 drop"
    );
    run(namespace.command("nft").arg(&rules));
    let agent = Sonde::agent().start();
    let _server = serve(namespace.command(TRAFFIC), &address, directory.path());
    run(namespace.command(TRAFFIC).args(["connect", &address, "3"]));
    let bucket = |le| [OWNER, ("destination", address.as_str()), ("le", le)];
    agent.expect(&[
        ("container_net_tcp_connect_duration_seconds_bucket", &bucket("0.5"), 2.0),
        ("container_net_tcp_connect_duration_seconds_bucket", &bucket("1.0"), 2.0),
        ("container_net_tcp_connect_duration_seconds_bucket", &bucket("3.0"), 3.0),
    ]);
}
