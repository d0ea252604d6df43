//! Both sides of connections: resets by who sent them, round-trip times, what listeners took.

use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::require;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::wait;

use crate::support::{TRAFFIC, docker, serve};

const GIVEN_UP: u32 = 4;
const RESET: u32 = 3;

#[test]
fn resets_are_counted_on_both_sides_by_who_sent_them() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let agent = Sonde::agent().start();
    for address in ["127.0.0.1:7200", "[::1]:7201"] {
        let mut command = namespace.command(TRAFFIC);
        command.args(["resets", address]);
        let server = Process::start(address, command, directory.path());
        wait::until("the server to listen", || {
            wait::ensure(server.output().contains("listening"), || server.output())
        });
        run(namespace.command(TRAFFIC).args(["give-up", address, &GIVEN_UP.to_string()]));
        run(namespace.command(TRAFFIC).args(["be-reset", address, &RESET.to_string()]));
        let owner = ("container_id", "/host/traffic");
        let out = |side| [owner, ("destination", address), ("actual_destination", address), ("side", side)];
        let inbound = |side| [owner, ("listen_addr", address), ("side", side)];
        agent.expect(&[
            ("container_net_tcp_resets_total", &out("sent"), f64::from(GIVEN_UP)),
            ("container_net_tcp_resets_total", &out("received"), f64::from(RESET)),
            ("container_net_tcp_inbound_resets_total", &inbound("received"), f64::from(GIVEN_UP)),
            ("container_net_tcp_inbound_resets_total", &inbound("sent"), f64::from(RESET)),
            (
                "container_net_tcp_inbound_connections_total",
                &[owner, ("listen_addr", address)],
                f64::from(GIVEN_UP + RESET),
            ),
        ]);
    }
}

#[test]
fn an_orderly_end_is_no_reset() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let agent = Sonde::agent().start();
    let address = "127.0.0.1:7202";
    let _server = serve(namespace.command(TRAFFIC), address, directory.path());
    run(namespace.command(TRAFFIC).args(["connect", address, "20"]));
    run(namespace.command(TRAFFIC).args(["send", address, "1000003"]));
    let labels = [("container_id", "/host/traffic"), ("destination", address)];
    agent.expect(&[("container_net_tcp_successful_connects_total", &labels, 21.0)]);
    let metrics = agent.metrics().expect("scrape");
    for metric in ["container_net_tcp_resets_total", "container_net_tcp_inbound_resets_total"] {
        assert!(metrics.select(metric, &[("container_id", "/host/traffic")]).is_empty(), "{metric}");
    }
}

#[test]
fn connections_too_short_for_a_pass_leave_their_round_trip() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let namespace = Netns::new();
    let agent = Sonde::agent().start();
    for (ip, address) in [("127.0.0.1", "127.0.0.1:7203"), ("::1", "[::1]:7204")] {
        let directory = tempfile::tempdir().expect("create a directory");
        let _server = serve(namespace.command(TRAFFIC), address, directory.path());
        run(namespace.command(TRAFFIC).args(["connect", address, "20"]));
        let to_server = [("container_id", "/host/traffic"), ("destination", address)];
        agent.expect(&[
            ("container_net_tcp_successful_connects_total", &to_server, 20.0),
            ("container_net_tcp_active_connections", &to_server, 0.0),
        ]);
        let way = [("container_id", "/host/traffic"), ("destination_ip", ip)];
        // And not for one snapshot only.
        let [first, second] = [(); 2].map(|()| agent.metrics().expect("scrape"));
        for metrics in [&first, &second] {
            let [smallest, smooth] = ["tcp_min_rtt_seconds", "latency_seconds"]
                .map(|metric| metrics.sum(&format!("container_net_{metric}"), &way));
            assert!(smallest > 0.0 && smallest <= smooth && smooth < 1.0, "{smallest} s, {smooth} s");
        }
    }
}

#[test]
fn containers_reset_each_other_and_know_their_round_trip() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let server = docker.run("server", &[], &["resets", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let address = format!("{}:9000", server.ip());
    let client = docker.run("client", &[], &["wait"]);
    client.traffic(&["give-up", &address, &GIVEN_UP.to_string()]);
    client.traffic(&["be-reset", &address, &RESET.to_string()]);
    let holder = docker.run("holder", &["-i"], &["hold", &address, "2"]);
    holder.wait_for("holding");
    let series = |metric: &str, id: &str, labels: &str| {
        format!("container_net_{metric}{{container_id=\"{id}\",{labels}}}")
    };
    let out = |side: &str| {
        let labels = format!("destination=\"{address}\",actual_destination=\"{address}\",side=\"{side}\"");
        series("tcp_resets_total", &client.id(), &labels)
    };
    let inbound = |side: &str| {
        let labels = format!("listen_addr=\"{address}\",side=\"{side}\"");
        series("tcp_inbound_resets_total", &server.id(), &labels)
    };
    let promql = prometheus.promql();
    promql.expect(&[
        (out("sent"), f64::from(GIVEN_UP)),
        (out("received"), f64::from(RESET)),
        (inbound("received"), f64::from(GIVEN_UP)),
        (inbound("sent"), f64::from(RESET)),
    ]);
    let to_server = format!("destination_ip=\"{}\"", server.ip());
    let [smallest, smooth] = ["tcp_min_rtt_seconds", "latency_seconds"].map(|metric| {
        let name = series(metric, &holder.id(), &to_server);
        wait::until(metric, || promql.value(&name).map_err(|error| format!("{error:#}")))
    });
    assert!(
        smallest > 0.0 && smallest <= smooth && smooth < 1.0,
        "{smallest} s at least, {smooth} s smoothed"
    );
}
