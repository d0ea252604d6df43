//! What the agent shows of itself: the page in all its formats, self-metrics, an end that leaves nothing behind.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use sonde_tests::process::run;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::{http, require, wait};

const ALLOWED: &str = include_str!("../../promtool-allowed.txt");

#[test]
fn promtool_finds_nothing_but_the_listed_names() {
    require!(Need::Root, Need::Tool("promtool"));
    let agent = Sonde::agent().start();
    let page = http::get(agent.address(), "/metrics", &[]).expect("scrape");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    promtool.stdin.take().expect("a pipe").write_all(&page.body).expect("hand the page to promtool");
    let output = promtool.wait_with_output().expect("wait for promtool");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let allowed: BTreeSet<&str> = ALLOWED.lines().filter(|line| !line.starts_with('#')).collect();
    let findings: Vec<&str> = said.lines().filter(|line| !allowed.contains(line)).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(page.text().lines().count() > 100, "the page is suspiciously short:\n{}", page.text());
}

#[test]
fn the_page_comes_in_the_format_that_is_asked_for() {
    require!(Need::Root);
    let agent = Sonde::agent().start();
    let ask = |accept: &str, encoding: &str| {
        let headers = [("accept", accept), ("accept-encoding", encoding)];
        let answer = http::get(agent.address(), "/metrics", &headers).expect("scrape");
        assert_eq!(answer.status, 200, "{accept}: {}", answer.text());
        answer
    };
    let kind = |answer: &http::Answer| answer.header("content-type").unwrap_or_default().to_owned();

    let text = ask("text/plain;version=0.0.4", "identity");
    assert!(kind(&text).starts_with("text/plain") && kind(&text).contains("0.0.4"), "{}", kind(&text));
    let open = ask("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "identity");
    assert!(kind(&open).starts_with("application/openmetrics-text"), "{}", kind(&open));
    assert!(open.text().ends_with("# EOF\n"), "OpenMetrics ends with its mark");
    let protobuf = ask(
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        "identity",
    );
    assert!(kind(&protobuf).starts_with("application/vnd.google.protobuf"), "{}", kind(&protobuf));
    for (encoding, magic) in [("gzip", &[0x1f, 0x8b][..]), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd][..])] {
        let packed = ask("text/plain", encoding);
        assert_eq!(packed.header("content-encoding"), Some(encoding));
        assert!(packed.body.starts_with(magic), "{encoding} begins with {:?}", &packed.body[..4]);
        assert!(packed.body.len() < text.body.len() / 2, "{encoding} does not compress");
    }
}

#[test]
fn the_agent_reports_on_itself() {
    require!(Need::Root);
    let agent = Sonde::agent().with_env("SONDE_PROGRAM_STATISTICS", "true").start();
    agent.metrics().expect("scrape once, to be counted");
    let metrics = wait::until("a snapshot after the first scrape", || {
        let metrics = agent.metrics()?;
        anyhow::ensure!(
            metrics.sum("sonde_agent_scrape_duration_seconds_count", &[]) > 0.0,
            "none is counted"
        );
        anyhow::Ok(metrics)
    });
    for name in [
        "node_agent_info",
        "sonde_agent_build_info",
        "sonde_agent_start_time_seconds",
        "sonde_agent_open_fds",
        "sonde_agent_resident_memory_bytes",
        "sonde_agent_connections",
        "sonde_agent_series",
    ] {
        assert!(metrics.value(name, &[]).expect(name) > 0.0, "{name} is zero");
    }
    for name in [
        "sonde_agent_cpu_seconds_total",
        "sonde_agent_program_runs_total",
        "sonde_agent_program_run_seconds_total",
        "sonde_agent_program_drops_total",
        "sonde_agent_ring_capacity_bytes",
        "sonde_agent_ring_fill_bytes",
        "sonde_agent_map_max_entries",
        "sonde_agent_map_bytes",
        "sonde_agent_queue_capacity",
        "sonde_agent_snapshot_duration_seconds_count",
        "sonde_agent_workloads",
    ] {
        assert!(!metrics.select(name, &[]).is_empty(), "no {name}");
    }
    for ring in ["EVENTS", "ANSWERS"] {
        let value = |metric, label| metrics.value(metric, &[(label, ring)]).expect(ring);
        let capacity = value("sonde_agent_ring_capacity_bytes", "ring");
        assert_eq!(capacity, value("sonde_agent_map_max_entries", "map"), "{ring}");
        assert!(value("sonde_agent_ring_fill_bytes", "ring") >= 0.0);
    }
    assert!(metrics.sum("sonde_agent_program_runs_total", &[]) > 0.0, "no program has run");
    assert_eq!(metrics.sum("sonde_agent_program_drops_total", &[]), 0.0, "an idle agent loses nothing");
    assert_eq!(metrics.sum("sonde_agent_decode_errors_total", &[]), 0.0);
    assert_eq!(metrics.sum("sonde_agent_series_rejected_total", &[]), 0.0);
    for probe in ["tcp/lifecycle", "tcp/sockets", "process/tasks", "cgroup/directories"] {
        let ok = [("probe", probe), ("verdict", "ok")];
        assert_eq!(metrics.value("sonde_agent_probe_state", &ok).expect("the probe's state"), 1.0, "{probe}");
    }
}

/// Ids of all programs in the kernel, by name.
fn kernel_programs() -> BTreeSet<(u64, String)> {
    let listing = run(Command::new("bpftool").args(["--json", "prog", "list"]));
    let listing: serde_json::Value = serde_json::from_str(&listing).expect("bpftool writes JSON");
    let programs = listing.as_array().expect("a list of programs");
    programs
        .iter()
        .map(|program| {
            let name = program["name"].as_str().unwrap_or_default().to_owned();
            (program["id"].as_u64().expect("a program has an id"), name)
        })
        .collect()
}

fn pins() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/sys/fs/bpf").expect("list pinned objects");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn sigterm_detaches_every_program() {
    require!(Need::Root, Need::Tool("bpftool"), Need::File("/sys/fs/bpf"));
    let before = pins();
    let mut agent = Sonde::agent().start();
    let pid = agent.process().pid();
    let owned = || -> BTreeSet<u64> {
        let descriptors =
            std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("list the agent's descriptors");
        let ids = descriptors.flatten().filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("prog_id:"))?;
            line.trim().parse().ok()
        });
        ids.collect()
    };
    let programs = owned();
    assert!(programs.len() >= 2, "the agent holds {} programs", programs.len());
    agent.stop();
    wait::until("the programs to go", || {
        let left: Vec<_> = kernel_programs().into_iter().filter(|(id, _)| programs.contains(id)).collect();
        wait::ensure(left.is_empty(), || format!("{left:?} are still there"))
    });
    assert_eq!(pins(), before, "something stays pinned");
}

#[test]
fn health_pages_and_commands_answer() {
    require!(Need::Root);
    let agent = Sonde::agent().start();
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(http::get(agent.address(), path, &[]).expect(path).status, 200, "{path}");
    }
    assert_eq!(http::get(agent.address(), "/nothing", &[]).expect("ask").status, 404);
    let status = agent.status();
    assert!(status["probes"].as_array().is_some_and(|probes| !probes.is_empty()), "{status:#}");
    let binary = sonde_tests::process::product("sonde-agent");
    let doctor = run(Command::new(&binary).arg("doctor"));
    assert!(doctor.contains("tcp"), "{doctor}");
    let config = write_config(agent.scratch(), "scrape_interval = \"5s\"\n");
    run(Command::new(&binary).args(["check-config", "--config", &config]));
}

fn write_config(directory: &Path, text: &str) -> String {
    let file = directory.join("sonde.toml");
    std::fs::write(&file, text).expect("write a configuration");
    file.display().to_string()
}
