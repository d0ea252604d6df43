//! Accept queues: their length, their limit, and an exact number of attempts dropped at a full one.

use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker};

/// listen(2) with this lets one more wait.
const QUEUE: u32 = 2;
const DROPPED: u32 = 5;

/// Starts a server that accepts nobody, and fills its queue.
fn full_queue(namespace: &Netns, address: &str, directory: &std::path::Path) -> [Process; 2] {
    let start = |role, arguments: &[&str]| {
        let mut command = namespace.command(TRAFFIC);
        command.args(arguments);
        Process::start_with_input(&format!("{role} {address}"), command, directory)
    };
    let server = start("server", &["ignore", address, &QUEUE.to_string()]);
    wait::until("the server to listen", || {
        wait::ensure(server.output().contains("listening"), || server.output())
    });
    let client = start("client", &["hold", address, &(QUEUE + 1).to_string()]);
    wait::until("the queue to be full", || {
        wait::ensure(client.output().contains("holding"), || client.output())
    });
    [server, client]
}

#[test]
fn a_full_accept_queue_is_shown_with_what_it_drops() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let [before, during] = ["127.0.0.1:7100", "[::1]:7101"];
    // One socket is older than the agent, with drops of before its time.
    let _old = full_queue(&namespace, before, directory.path());
    run(namespace.command(TRAFFIC).args(["abandon", before, "9"]));
    let agent = Sonde::agent().start();
    let old = [("container_id", "/host/traffic"), ("listen_addr", before)];
    agent.expect(&[("container_net_tcp_listen_drops_total", &old, 0.0)]);
    let _new = full_queue(&namespace, during, directory.path());
    for address in [before, during] {
        run(namespace.command(TRAFFIC).args(["abandon", address, &DROPPED.to_string()]));
        let labels = [("container_id", "/host/traffic"), ("listen_addr", address)];
        agent.expect(&[
            ("container_net_tcp_listen_backlog", &labels, f64::from(QUEUE + 1)),
            ("container_net_tcp_listen_backlog_max", &labels, f64::from(QUEUE + 1)),
            ("container_net_tcp_listen_drops_total", &labels, f64::from(DROPPED)),
        ]);
    }
}

#[test]
fn drops_between_the_last_look_and_the_end_of_a_listener_count() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let agent = Sonde::agent().with("--scrape-interval", "1h").start();
    let address = "127.0.0.1:7102";
    let [mut server, client] = full_queue(&namespace, address, directory.path());
    run(namespace.command(TRAFFIC).args(["abandon", address, &DROPPED.to_string()]));
    server.kill();
    drop(client);
    let labels = [("container_id", "/host/traffic"), ("listen_addr", address)];
    agent.expect(&[("container_net_tcp_listen_drops_total", &labels, f64::from(DROPPED))]);
    let metrics = agent.metrics().expect("scrape");
    assert!(
        metrics.select("container_net_tcp_listen_backlog", &labels).is_empty(),
        "nobody listens any more"
    );
}

#[test]
fn a_containers_queue_is_shown_by_prometheus() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let server = docker.run("server", &[], &["ignore", "0.0.0.0:9000", &QUEUE.to_string()]);
    server.wait_for("listening");
    let address = format!("{}:9000", server.ip());
    let client = docker.run("client", &[], &["hold", &address, &(QUEUE + 1).to_string()]);
    client.wait_for("holding");
    let busy = docker.run("busy", &[], &["wait"]);
    busy.traffic(&["abandon", &address, &DROPPED.to_string()]);
    let name = |metric: &str| {
        format!(
            "container_net_tcp_listen_{metric}{{container_id=\"{}\",listen_addr=\"0.0.0.0:9000\"}}",
            server.id()
        )
    };
    prometheus.promql().expect(&[
        (name("backlog"), f64::from(QUEUE + 1)),
        (name("backlog_max"), f64::from(QUEUE + 1)),
        (name("drops_total"), f64::from(DROPPED)),
    ]);
}
