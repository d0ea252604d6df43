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
use tempfile::TempDir;

use crate::support::{TRAFFIC, serve, traffic};
use crate::udp::start;

const ROUNDS: u32 = 60;
const CONTAINERS: u32 = 10;
const CONNECTS: u32 = 10;
const REFUSED: u32 = 5;
const PROCESSES: u32 = 30;
const ASKED: u32 = 7;
const NAMES: u32 = 20;
/// What the allocator may keep beyond the first third's peak. Ten times less than what the tables of all these
/// containers would take if they were kept.
const RSS_SLACK: f64 = 3e6;
/// Entries that others on this machine may have in a map.
const OTHERS: f64 = 20.0;
/// What maps may take beyond the beginning: some hundreds of entries of whoever else uses this machine.
const MAPS_SLACK: f64 = 128e3;

fn rounds() -> u32 {
    std::env::var("SONDE_ENDURANCE_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number of rounds"))
}

/// Who is talked to in every round.
struct Servers {
    tcp: String,
    udp: String,
    closed: String,
    _processes: [Process; 2],
}

impl Servers {
    fn start(directory: &TempDir) -> Self {
        let (tcp, closed) = (free_address().to_string(), free_address().to_string());
        let listening = serve(traffic(&[]), &tcp, directory.path());
        let (answering, udp) = start("udp-server", traffic(&["udp", "serve", "127.0.0.1:0"]), directory);
        Self { tcp, udp, closed, _processes: [listening, answering] }
    }
}

/// One round: everything in it has ended when it returns.
fn churn(round: u32, servers: &Servers, directory: &TempDir) {
    let Servers { tcp: server, udp, closed, .. } = servers;
    let groups: Vec<ContainerCgroup> =
        (0..CONTAINERS).map(|index| ContainerCgroup::new(round * CONTAINERS + index)).collect();
    let clients: Vec<Process> = groups
        .iter()
        .map(|group| {
            let mut command = group.command(TRAFFIC);
            command.args(["connect", server, &CONNECTS.to_string()]);
            Process::start("client", command, directory.path())
        })
        .collect();
    let namespace = Netns::new();
    run(namespace.command(TRAFFIC).args(["refused", closed, &REFUSED.to_string()]));
    run(namespace.command(TRAFFIC).args(["udp", "refused", closed, &REFUSED.to_string()]));
    let mut asking = groups[0].command(TRAFFIC);
    run(asking.args(["udp", "ask", udp, &ASKED.to_string(), "100"]));
    resolve(round, directory);
    run(Command::new("sh").args(["-c", &format!("for i in $(seq {PROCESSES}); do /bin/true; done")]));
    for mut client in clients {
        assert!(client.wait().success(), "a client failed: {}", client.output());
    }
}

/// A name server in a namespace of its own, and names that nobody asked for before.
fn resolve(round: u32, directory: &TempDir) {
    let (namespace, address) = (Netns::new(), "127.0.0.1:53");
    let mut command = namespace.command(TRAFFIC);
    command.args(["dns", "serve", address]);
    let _server = start(&format!("name-server-{round}"), command, directory);
    let (first, count) = ((round * NAMES).to_string(), NAMES.to_string());
    run(namespace.command(TRAFFIC).args(["dns", "flood", address, &first, &count]));
}

fn sum(metrics: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    metrics.select(name, labels).iter().map(|sample| sample.value).sum()
}

/// Losses that have a counter. Nothing is lost, so nothing needs an explanation. Not `sonde_agent_names_evicted_total`: the
/// rounds ask for more addresses than the table of names has room for, and all of them lead nowhere.
const LOSSES: [&str; 9] = [
    "sonde_agent_program_drops_total",
    "sonde_agent_connections_incomplete_total",
    "sonde_agent_connections_unowned_total",
    "sonde_agent_decode_errors_total",
    "sonde_agent_udp_unowned_total",
    "sonde_agent_udp_sockets_refused_total",
    "sonde_agent_series_folded_total",
    "sonde_agent_pass_failures_total",
    "sonde_agent_scrapes_failed_total",
];

/// Reasons of `sonde_agent_naming_losses_total`. Left out are those of races that whoever uses this machine may lose: a
/// process that is gone before it is looked at (`executable_unknown`), or with its cgroup (`cgroup_unknown`), and a
/// directory that vanishes while cgroups are walked (`cgroup_unreadable`).
const NAMING_LOSSES: [&str; 6] = [
    "workload_table_full",
    "workload_evicted",
    "process_table_full",
    "cgroup_table_full",
    "hint_queue_full",
    "hint_hung",
];

fn lost_nothing(metrics: &Exposition) {
    let named = NAMING_LOSSES.map(|reason| ("sonde_agent_naming_losses_total", Some(("reason", reason))));
    for (name, label) in LOSSES.map(|name| (name, None)).into_iter().chain(named) {
        let seen = metrics.select(name, label.as_slice());
        // Without any series the name would be wrong, not the agent right.
        assert!(!seen.is_empty(), "{name} {label:?} is absent");
        let lost: Vec<_> = seen.iter().filter(|sample| sample.value > 0.0).collect();
        assert!(lost.is_empty(), "{name}: {lost:?}");
    }
}

/// What is gone is forgotten, in the tables and in the kernel's maps.
fn is_forgotten(before: &Exposition, now: &Exposition) -> Result<(), String> {
    let grown = |name: &str, labels: &[_]| sum(now, name, labels) - sum(before, name, labels);
    let left = grown("sonde_agent_workloads", &[("kind", "container")]);
    wait::ensure(left <= 0.0, || format!("{left} more containers than before"))?;
    let entries = |map| sum(now, "sonde_agent_map_entries", &[("map", map)]);
    let (tracked, open) = (entries("CONN_BY_SOCK"), sum(now, "sonde_agent_connections", &[]));
    // Connects under way are tracked before they are open; those of this machine are few.
    wait::ensure(tracked <= open + OTHERS, || format!("{tracked} tracked, {open} open"))?;
    let owners = entries("UDP_BY_OWNER");
    wait::ensure(owners <= OTHERS, || format!("{owners} processes that used UDP are remembered"))?;
    let maps = grown("sonde_agent_map_bytes", &[]);
    wait::ensure(maps < MAPS_SLACK, || format!("maps take {maps} bytes more than before"))
}

#[test]
fn an_hour_of_churn_leaves_the_agent_as_it_was() {
    require!(Need::Root, Need::Tool("ip"));
    let rounds = rounds();
    let mut agent = Sonde::agent().with("--forget-after", "10s").start();
    let directory = tempfile::tempdir().expect("create a directory");
    let servers = Servers::start(&directory);
    let before = agent.metrics().expect("a scrape");
    let peak = |agent: &Sonde| {
        sum(&agent.metrics().expect("a scrape"), "sonde_agent_resident_memory_peak_bytes", &[])
    };

    let mut settled = 0.0;
    for round in 0..rounds {
        churn(round, &servers, &directory);
        agent.process().assert_running();
        if round + 1 == rounds.div_ceil(3) {
            settled = peak(&agent);
        }
    }

    let listener = [("listen_addr", servers.tcp.as_str())];
    let closed = [("container_id", "/host/traffic"), ("destination", servers.closed.as_str())];
    agent.expect(&[
        ("container_net_tcp_inbound_connections_total", &listener, f64::from(rounds * CONTAINERS * CONNECTS)),
        ("container_net_tcp_failed_connects_total", &closed, f64::from(rounds * REFUSED)),
    ]);
    lost_nothing(&agent.metrics().expect("a scrape"));
    wait::until("everything to be forgotten", || {
        is_forgotten(&before, &agent.metrics().map_err(|error| format!("{error:#}"))?)
    });
    let peak = peak(&agent);
    assert!(
        peak <= settled + RSS_SLACK,
        "memory grew from {settled} bytes after a third of the rounds to {peak} at the end"
    );
}
