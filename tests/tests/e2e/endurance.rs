//! Churn: containers, processes, connections and network namespaces come and go, and the agent stays as it was.
//!
//! The short form has as many containers as a busy node starts in an hour; `cargo xtask endure` sets more rounds.

use std::process::Command;

use sonde_tests::cgroup::ContainerCgroup;
use sonde_tests::exposition::Exposition;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, serve, traffic};

const ROUNDS: u32 = 60;
const CONTAINERS: u32 = 10;
const CONNECTS: u32 = 10;
const REFUSED: u32 = 5;
const PROCESSES: u32 = 30;
/// What the allocator may keep beyond the first third's peak. Ten times less than what the tables of all these
/// containers would take if they were kept.
const RSS_SLACK: f64 = 3e6;

fn rounds() -> u32 {
    std::env::var("SONDE_ENDURANCE_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number of rounds"))
}

/// One round: everything in it has ended when it returns.
fn churn(round: u32, server: &str, closed: &str, directory: &std::path::Path) {
    let groups: Vec<ContainerCgroup> =
        (0..CONTAINERS).map(|index| ContainerCgroup::new(round * CONTAINERS + index)).collect();
    let clients: Vec<Process> = groups
        .iter()
        .map(|group| {
            let mut command = group.command(TRAFFIC);
            command.args(["connect", server, &CONNECTS.to_string()]);
            Process::start("client", command, directory)
        })
        .collect();
    let namespace = Netns::new();
    run(namespace.command(TRAFFIC).args(["refused", closed, &REFUSED.to_string()]));
    run(Command::new("sh").args(["-c", &format!("for i in $(seq {PROCESSES}); do /bin/true; done")]));
    for mut client in clients {
        assert!(client.wait().success(), "a client failed: {}", client.output());
    }
}

fn sum(metrics: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    metrics.select(name, labels).iter().map(|sample| sample.value).sum()
}

#[test]
fn an_hour_of_churn_leaves_the_agent_as_it_was() {
    require!(Need::Root, Need::Tool("ip"));
    let rounds = rounds();
    let mut agent = Sonde::agent().with("--forget-after", "10s").start();
    let address = free_address().to_string();
    let directory = agent.scratch().to_owned();
    let _server = serve(traffic(&[]), &address, &directory);
    let closed = free_address().to_string();
    let containers = |metrics: &Exposition| sum(metrics, "sonde_agent_workloads", &[("kind", "container")]);
    let before = containers(&agent.metrics().expect("a scrape"));

    let mut settled = 0.0;
    for round in 0..rounds {
        churn(round, &address, &closed, &directory);
        agent.process().assert_running();
        if round + 1 == rounds.div_ceil(3) {
            settled = sum(&agent.metrics().expect("a scrape"), "sonde_agent_resident_memory_peak_bytes", &[]);
        }
    }

    let connects = f64::from(rounds * CONTAINERS * CONNECTS);
    let refused = f64::from(rounds * REFUSED);
    let listener = [("listen_addr", address.as_str())];
    let closed = [("container_id", "/host/traffic"), ("destination", closed.as_str())];
    agent.expect(&[
        ("container_net_tcp_inbound_connections_total", &listener, connects),
        ("container_net_tcp_failed_connects_total", &closed, refused),
    ]);

    // Nothing was lost, so nothing needs an explanation.
    let metrics = agent.metrics().expect("a scrape");
    for name in [
        "sonde_agent_program_drops_total",
        "sonde_agent_connections_incomplete_total",
        "sonde_agent_connections_unowned_total",
        "sonde_agent_decode_errors_total",
        "sonde_agent_pass_failures_total",
    ] {
        let seen = metrics.select(name, &[]);
        let lost: Vec<_> = seen.iter().filter(|sample| sample.value > 0.0).collect();
        assert!(lost.is_empty(), "{name}: {lost:?}");
    }

    // And what is gone is forgotten.
    wait::until("the containers to be forgotten", || {
        let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
        let left = containers(&metrics) - before;
        wait::ensure(left <= 0.0, || format!("{left} more containers than before"))?;
        let tracked = sum(&metrics, "sonde_agent_map_entries", &[("map", "CONN_BY_SOCK")]);
        let open = sum(&metrics, "sonde_agent_connections", &[]);
        // Connects under way are tracked before they are open; those of this machine are few.
        wait::ensure(tracked <= open + 20.0, || format!("{tracked} tracked, {open} open"))
    });
    let peak = sum(&agent.metrics().expect("a scrape"), "sonde_agent_resident_memory_peak_bytes", &[]);
    assert!(
        peak <= settled + RSS_SLACK,
        "memory grew from {settled} bytes after a third of the rounds to {peak} at the end"
    );
}
