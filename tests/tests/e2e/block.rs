//! I/O on the machine's disk, and optional probes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sonde_tests::docker::Container;
use sonde_tests::exposition::Exposition;
use sonde_tests::process::run;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::{require, skip, wait};

use crate::node::fresh;
use crate::support::{docker, traffic};

const CHUNK: f64 = 1_048_576.0;

/// The name of the disk that a directory is on; `None` when it is on none.
pub fn disk(directory: &Path) -> Option<String> {
    let device = fs::metadata(directory).expect("look at the directory").dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let table = fs::read_to_string("/proc/diskstats").expect("read diskstats");
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words[0] == major.to_string() && words[1] == minor.to_string()).then(|| words[2].to_owned())
    })
}

fn value(agent: &Sonde, name: &str, labels: &[(&str, &str)]) -> Result<f64, String> {
    let value = agent.metrics().map(|metrics: Exposition| metrics.sum(name, labels));
    value.map_err(|error| format!("{error:#}"))
}

fn io(agent: &Sonde, container: &Container<'_>, device: &str, what: &str) -> Result<f64, String> {
    let name = format!("container_resources_disk_{what}_total");
    value(agent, &name, &[("container_id", &container.id()), ("device", device)])
}

#[test]
fn a_containers_reads_and_writes_are_counted_by_disk() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let directory = tempfile::tempdir_in("/var/tmp").expect("make a directory");
    let Some(device) = disk(directory.path()) else {
        return skip::record("/var/tmp is not on a disk of its own number");
    };
    let docker = docker();
    let agent = Sonde::agent().start();
    let volume = format!("{}:/data", directory.path().display());
    let container = docker.run("writer", &["--volume", &volume], &["wait"]);
    let idle = docker.run("idle", &["--volume", &volume], &["wait"]);
    wait::until("the containers to show", || {
        let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
        let shown = |id: String| metrics.sum("container_info", &[("container_id", &id)]) == 1.0;
        wait::ensure(shown(container.id()) && shown(idle.id()), || "not both".to_owned())
    });
    let before =
        ["read_bytes", "written_bytes"].map(|what| io(&agent, &container, &device, what).expect("scrape"));
    container.traffic(&["direct", "/data/direct", "24"]);
    wait::until("the bytes past the page cache to show", || {
        let written = io(&agent, &container, &device, "written_bytes")? - before[1];
        wait::equal(written, 24.0 * CHUNK)
    });
    let read = io(&agent, &container, &device, "read_bytes").expect("scrape") - before[0];
    // The program itself may have been read from the disk, too.
    assert!((24.0 * CHUNK..34.0 * CHUNK).contains(&read), "{read} bytes were read");
    assert!(io(&agent, &container, &device, "writes").expect("scrape") >= 24.0);
    container.traffic(&["synced", "/data/synced", "8"]);
    let written = wait::until("the bytes of the page cache to show", || {
        let written = io(&agent, &container, &device, "written_bytes")? - before[1];
        wait::ensure(written >= 32.0 * CHUNK, || format!("{written} bytes")).map(|()| written)
    });
    // The file system's own blocks.
    assert!(written < 33.0 * CHUNK, "{written} bytes were written");
    assert_eq!(io(&agent, &idle, &device, "written_bytes"), Ok(0.0));
}

#[test]
fn optional_probes_are_off_unless_asked_for() {
    require!(Need::Root);
    let agent = Sonde::agent().start();
    let status = agent.status();
    let probes = status["probes"].as_array().expect("/status lists probes");
    for name in ["runqueue/latency", "block-latency/requests", "drops/reasons"] {
        let probe = probes.iter().find(|probe| probe["name"] == name).expect(name);
        assert_eq!(
            (&probe["verdict"], &probe["reason"]),
            (&"disabled".into(), &"off unless asked for".into())
        );
    }
    let metrics = agent.metrics().expect("scrape");
    for name in [
        "container_resources_cpu_runqueue_latency_seconds_count",
        "node_net_packets_dropped_total",
        "sonde_agent_program_runs_total",
    ] {
        assert!(metrics.select(name, &[]).is_empty(), "{name} is shown");
    }
}

#[test]
fn run_queue_histograms_tell_what_the_delay_tells() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    const SUM: &str = "container_resources_cpu_runqueue_latency_seconds_sum";
    let docker = docker();
    let agent = Sonde::agent().with("--probe", "runqueue=on").start();
    let container = docker.run("contend", &[], &["wait"]);
    let id = container.id();
    let labels = [("container_id", id.as_str())];
    let delay = |agent: &Sonde| value(agent, "container_resources_cpu_delay_seconds_total", &labels);
    wait::until("the container to show", || wait::ensure(delay(&agent)? > 0.0, || "no delay".to_owned()));
    let before = (value(&agent, SUM, &labels).expect("scrape"), delay(&agent).expect("scrape"));
    container.traffic(&["contend", "3", "400"]);
    // The delay of a thread includes what it waited before it was moved into the container.
    wait::until("both to tell the same", || {
        let histogram = value(&agent, SUM, &labels)? - before.0;
        let delay = delay(&agent)? - before.1;
        wait::ensure(delay > 1.0 && (0.9..1.02).contains(&(histogram / delay)), || {
            format!("{histogram} s by histogram, {delay} s by threads")
        })
    });
    let watched = agent.metrics().expect("scrape").sum("sonde_agent_program_runs_total", &[]);
    assert!(watched > 0.0, "what the probe costs is not watched");
}

#[test]
fn requests_of_disks_are_counted_as_the_kernel_does() {
    require!(Need::Root);
    let directory = tempfile::tempdir_in("/var/tmp").expect("make a directory");
    let Some(device) = disk(directory.path()) else {
        return skip::record("/var/tmp is not on a disk of its own number");
    };
    let agent = Sonde::agent().with("--probe", "block-latency=on").start();
    assert_requests_are_counted(&agent, directory.path(), &device);
}

/// The histograms of a disk's reads and writes count what the kernel does.
#[track_caller]
pub fn assert_requests_are_counted(agent: &Sonde, directory: &Path, device: &str) {
    const NAMES: [[&str; 2]; 2] = [
        ["node_resources_disk_read_latency_seconds_count", "node_resources_disk_reads_total"],
        ["node_resources_disk_write_latency_seconds_count", "node_resources_disk_writes_total"],
    ];
    let labels = [("device", device)];
    let counts = || {
        let metrics = fresh(agent);
        NAMES.map(|names| names.map(|name| metrics.sum(name, &labels)))
    };
    let file = directory.join("direct");
    // The two are read a moment apart, and others use the disk, too: a burst in between is in one of them only.
    wait::until("the histograms to have what the kernel counts", || {
        let before = counts();
        run(&mut traffic(&["direct", &file.display().to_string(), "16"]));
        for (now, (before, [name, _])) in counts().into_iter().zip(before.into_iter().zip(NAMES)) {
            let (histogram, kernel) = (now[0] - before[0], now[1] - before[1]);
            wait::ensure(kernel >= 16.0 && (histogram - kernel).abs() <= kernel * 0.2, || {
                format!("{histogram} in {name}, {kernel} by the kernel")
            })?;
        }
        Ok::<_, String>(())
    });
}
