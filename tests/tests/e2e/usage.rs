//! What containers use and what limits them, in exact amounts, asked through Prometheus.

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::process::Process;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker};

const MEBIBYTE: f64 = 1_048_576.0;

fn resource(id: &str, name: &str) -> String {
    format!("container_resources_{name}{{container_id=\"{id}\"}}")
}

#[test]
fn threads_files_sockets_and_their_limits_are_exact() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let files = docker.run("files", &["--ulimit", "nofile=100:200"], &["open", "40", "7"]);
    files.wait_for("opened 40 and 7");
    let threads = docker.run("threads", &["--pids-limit", "50"], &["threads", "23"]);
    threads.wait_for("running 23");
    let series = |name: &str| resource(&files.id(), name);
    prometheus.promql().expect(&[
        // With the three standard streams.
        (series("open_files"), 50.0),
        (series("open_sockets"), 7.0),
        (series("open_files_limit_ratio"), 0.5),
        (resource(&threads.id(), "tasks"), 23.0),
        (resource(&threads.id(), "tasks_limit"), 50.0),
    ]);
}

#[test]
fn a_service_without_a_pids_group_has_its_threads_and_time() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let agent = Sonde::agent().start();
    let service = ServiceCgroup::new("sonde-usage");
    let mut command = service.command(TRAFFIC);
    command.args(["threads", "12"]);
    let _process = Process::start("threads", command, directory.path());
    let owner = [("container_id", service.id())];
    agent.expect(&[("container_resources_tasks", &owner, 12.0)]);
    let metrics = agent.metrics().expect("scrape");
    let used = |name: &str| metrics.value(&format!("container_resources_cpu_{name}_seconds_total"), &owner);
    assert!(used("usage").expect("the time used") > 0.0);
    assert!(used("user").expect("of this in user mode") >= 0.0);
}

#[test]
fn memory_is_measured_up_to_the_kill() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let large = docker.run("large", &["--memory", "64m", "--memory-swap", "80m"], &["allocate", "50331648"]);
    large.wait_for("allocated");
    let within = |name: &str, low: f64, high: f64| {
        let series = resource(&large.id(), name);
        wait::until(&format!("{series} to be right"), || {
            let value = prometheus.promql().value(&series).map_err(|error| format!("{error:#}"))?;
            wait::ensure((low..=high).contains(&value), || format!("{value}"))
        });
    };
    within("memory_working_set_bytes", 48.0 * MEBIBYTE, 64.0 * MEBIBYTE);
    within("memory_effective_limit_bytes", 64.0 * MEBIBYTE, 64.0 * MEBIBYTE);
    if std::path::Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists() {
        within("memory_swap_limit_bytes", 16.0 * MEBIBYTE, 16.0 * MEBIBYTE);
    }
    let killed =
        docker.run("killed", &["--memory", "24m", "--memory-swap", "24m"], &["allocate", "100000000"]);
    let kills = |container: &sonde_tests::docker::Container<'_>| {
        format!("container_oom_kills_total{{container_id=\"{}\"}}", container.id())
    };
    prometheus.promql().expect(&[(kills(&killed), 1.0), (kills(&large), 0.0)]);
    docker.command(&["start", killed.name()]);
    prometheus.promql().expect(&[(kills(&killed), 2.0), (kills(&large), 0.0)]);
}

#[test]
fn what_has_no_source_says_why() {
    require!(Need::Root);
    let agent = Sonde::agent().start();
    let status = agent.status();
    let absent = status["absent"].as_array().expect("/status lists what is absent");
    let metrics = agent.metrics().expect("scrape");
    for entry in absent {
        let (metric, reason) =
            (entry["metric"].as_str().unwrap_or(""), entry["reason"].as_str().unwrap_or(""));
        assert!(!metric.is_empty() && reason.len() > 10, "{entry}");
        assert!(metrics.select(metric, &[]).is_empty(), "{metric} is there all the same");
    }
    let delay = "container_resources_disk_delay_seconds_total";
    let is_off =
        std::fs::read_to_string("/proc/sys/kernel/task_delayacct").is_ok_and(|text| text.trim() == "0");
    if is_off {
        assert!(
            absent.iter().any(|entry| entry["metric"] == delay),
            "{delay} has no source and is not explained"
        );
    }
}
