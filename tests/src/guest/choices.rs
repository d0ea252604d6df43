//! Every choice that this kernel has for a feature, taken once: the agent is started anew with the better ones refused,
//! and must tell the same in exact numbers, or say that it cannot.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::tests::{self, Existing, Role, SELF, count, serve};
use super::{Agent, check, datagrams, endings, load, memory};
use crate::traffic::{self, REPLY_BYTES};

const TRACEPOINTS: &str = "/sys/kernel/tracing/events";
const MESSAGES: u64 = 19;
const BYTES: u64 = 1_103;
const CONNECTS: u64 = 7;
const REFUSED: u64 = 3;
const SENT: u64 = 12_345;

/// All of them. No other agent may run.
pub(super) fn run_all() {
    run_second();
    let refused = "file_iter,file_iter_probed,udp_sendmsg,udp_send_length";
    round("without_iterators", refused, &[], |agent| {
        check("without_iterators_connections_are_exact_at_their_end", || without_iterators(agent));
        check("the_address_asked_for_is_told_without_iterators", || endings::asked(agent));
        check("datagrams_are_exact_by_packets", || packets(agent, "guest-packets"));
    });
    round("without_types", "", &["--btf", "/nowhere"], without_types);
}

/// The choices that other kernels, or other hierarchies of control groups, take.
pub(super) fn run_second() {
    // Programs that do not fit this kernel are refused twice.
    let refused = "udp_sendmsg,disk_latency,oom_victim,oom_victim_pid,task_iter,file_iter";
    let existing = Existing::open();
    round("with_second_choices", refused, &[], |agent| {
        check("open_connections_are_exact_by_probed_reads", || {
            taken(agent, "tcp/sockets", "iter/task_file by probed reads")?;
            existing?.check(agent)
        });
        second_choices(agent);
    });
}

/// Starts the agent, lets it be tested, stops it.
pub(super) fn round(name: &str, refused: &str, flags: &[&str], test: impl FnOnce(&Agent)) {
    check(&format!("agent_works_{name}"), || {
        let mut agent = Agent::start(refused, flags)?;
        agent.wait_until_ready()?;
        test(&agent);
        agent.stop()
    });
}

fn second_choices(agent: &Agent) {
    if Path::new(TRACEPOINTS).join("sock/sock_send_length").exists() {
        check("datagrams_are_exact_by_tracepoints", || {
            taken(agent, "udp/traffic", "tp_btf/sock_send_length+sock_recv_length")?;
            datagrams::are_exact(agent)
        });
    }
    check("requests_are_exact_by_completions", || {
        taken(agent, "block-latency/requests", "tp_btf/block_rq_complete")?;
        load::requests(agent)
    });
    check("victims_of_the_oom_killer_are_told_by_files", || {
        not_taken(agent, "process/oom")?;
        memory::victims(agent, "guest-starved-by-files.service", memory::Source::Files)
    });
    check("processes_are_told_by_proc", || {
        not_taken(agent, "process/tasks")?;
        tests::service(agent)
    });
}

/// What remains where the kernel's types cannot be read.
fn without_types(agent: &Agent) {
    check("connections_are_exact_by_tracepoint", || {
        taken(agent, "tcp/lifecycle", "tracepoint/sock/inet_sock_set_state")?;
        not_taken(agent, "tcp/sockets")?;
        connections(agent)?;
        absent(agent, &["container_net_tcp_bytes_sent_total", "container_net_tcp_min_rtt_seconds"])
    });
    check("datagrams_are_exact_without_types", || packets(agent, "guest-typeless"));
    check("names_of_destinations_are_seen_without_types", || {
        datagrams::names_are_seen(agent, "127.0.0.2:53")
    });
}

/// Verdict, and choice or reason, of a feature.
pub(super) fn probe(agent: &Agent, feature: &str) -> Result<(String, String)> {
    let status = agent.status()?;
    let probes = status["probes"].as_array().context("/status lists no probes")?;
    let probe = probes.iter().find(|probe| probe["name"] == feature).context("it is not in /status")?;
    let text = |key: &str| probe[key].as_str().unwrap_or_default().to_owned();
    Ok((text("verdict"), text("choice") + &text("reason")))
}

fn taken(agent: &Agent, feature: &str, choice: &str) -> Result<()> {
    let seen = probe(agent, feature)?;
    ensure!(seen == ("ok".to_owned(), choice.to_owned()), "{feature} is {seen:?}, not {choice}");
    Ok(())
}

fn not_taken(agent: &Agent, feature: &str) -> Result<()> {
    let (verdict, reason) = probe(agent, feature)?;
    ensure!(verdict == "unsupported", "{feature} is {verdict}: {reason}");
    Ok(())
}

/// The series are absent, and `/status` says why.
fn absent(agent: &Agent, metrics: &[&str]) -> Result<()> {
    let status = agent.status()?;
    let told = status["absent"].as_array().context("/status does not say what is absent")?;
    let shown = agent.metrics()?;
    for metric in metrics {
        ensure!(told.iter().any(|entry| entry["metric"] == *metric), "{metric} is not explained");
        ensure!(shown.select(metric, &[]).is_empty(), "{metric} is there all the same");
    }
    Ok(())
}

/// What every choice tells of connections.
fn connections(agent: &Agent) -> Result<()> {
    let (server, closed) = (serve()?, crate::process::free_address());
    traffic::connect(server, CONNECTS)?;
    traffic::refused(closed, REFUSED)?;
    let (server, closed) = (server.to_string(), closed.to_string());
    let destination = [SELF, ("destination", server.as_str())];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &destination, count(CONNECTS)),
        ("container_net_tcp_connect_duration_seconds_count", &destination, count(CONNECTS)),
        ("container_net_tcp_active_connections", &destination, 0.0),
        (
            "container_net_tcp_failed_connects_total",
            &[SELF, ("destination", closed.as_str())],
            count(REFUSED),
        ),
    ]);
    Ok(())
}

fn without_iterators(agent: &Agent) -> Result<()> {
    not_taken(agent, "tcp/sockets")?;
    not_taken(agent, "process/files")?;
    connections(agent)?;
    let server = serve()?;
    traffic::send(server, SENT)?;
    let server = server.to_string();
    let destination = [SELF, ("destination", server.as_str())];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &destination, 1.0),
        ("container_net_tcp_bytes_sent_total", &destination, count(SENT)),
        ("container_net_tcp_bytes_received_total", &destination, f64::from(REPLY_BYTES)),
    ]);
    absent(
        agent,
        &[
            "container_net_tcp_listen_backlog",
            "container_resources_open_files",
            "container_net_udp_receive_drops_total",
        ],
    )
}

/// A client and a server, each in a service: packets know no process, but the group of their socket.
fn packets(agent: &Agent, name: &str) -> Result<()> {
    taken(agent, "udp/traffic", "cgroup_skb")?;
    let services = ["asking", "answering"].map(|part| format!("/system.slice/{name}-{part}.service"));
    let (_server, address) = Role::start_in(&services[1], &["udp", "serve", "127.0.0.1:0"], "listening ")?;
    let (messages, bytes) = (MESSAGES.to_string(), BYTES.to_string());
    let (_client, _) = Role::start_in(&services[0], &["udp", "stay", &address, &messages, &bytes], "asked ")?;
    let (asked, answered) = (count(MESSAGES * BYTES), count(MESSAGES * u64::from(REPLY_BYTES)));
    let [asking, answering] = [0, 1].map(|index| [("container_id", services[index].as_str())]);
    agent.expect(&[
        ("container_net_udp_bytes_sent_total", &asking, asked),
        ("container_net_udp_bytes_received_total", &asking, answered),
        ("container_net_udp_messages_sent_total", &asking, count(MESSAGES)),
        ("container_net_udp_bytes_sent_total", &answering, answered),
        ("container_net_udp_bytes_received_total", &answering, asked),
        ("container_net_udp_messages_received_total", &answering, count(MESSAGES)),
    ]);
    absent(agent, &["container_net_udp_errors_total"])
}
