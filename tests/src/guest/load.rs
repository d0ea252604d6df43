//! Disks and CPUs in the guest: a service that contends for a CPU and writes to a device without a file system, and the
//! optional probes beside it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Agent, check, child_command};
use crate::traffic::load;
use crate::wait;

const SERVICE: &str = "/system.slice/guest-load.service";
const DISK: &str = "/dev/nullb0";
const CHUNKS: u64 = 6;
const ROLE: &str = "load";

/// All tests of this page.
pub(super) fn run_all(agent: &Agent) {
    check("the_cpu_delay_of_ended_processes_is_counted", || delay(agent));
    check("direct_io_is_counted_by_disk", || disk(agent));
    check("optional_probes_tell_the_same", || optional(agent));
}

/// Whether a child's role is of this page.
pub(super) fn is_role(role: &str) -> bool {
    role == ROLE
}

/// Three processes on one CPU, and I/O on the disk, all from within a service.
pub(super) fn child(_: &str) -> Result<()> {
    let directory = format!("/sys/fs/cgroup{SERVICE}");
    fs::create_dir_all(&directory).context("make the service's cgroup")?;
    fs::write(format!("{directory}/cgroup.procs"), std::process::id().to_string())
        .context("move into the service's cgroup")?;
    load::direct(Path::new(DISK), CHUNKS)?;
    load::contend(3, Duration::from_millis(300))
}

fn value(agent: &Agent, name: &str) -> Result<f64> {
    Ok(agent.metrics()?.sum(name, &[("container_id", SERVICE)]))
}

/// Runs the load, and compares what the kernel told of its processes.
fn delay(agent: &Agent) -> Result<()> {
    let output = child_command(ROLE).stderr(Stdio::inherit()).output().context("start the load")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "the load failed: {text}");
    let told = text.lines().find_map(|line| line.strip_prefix("waited ")).context("the sum")?;
    let told = told.parse::<f64>()? / 1e9;
    ensure!(told > 0.3, "only {told} s were waited");
    let seen = wait::until_within(super::DEADLINE, "the waiting to show", || {
        let seen = value(agent, "container_resources_cpu_delay_seconds_total")?;
        ensure!(seen >= told * 0.99, "{seen} s of {told} s");
        Ok(seen)
    });
    ensure!(seen <= told * 1.1 + 0.1, "{seen} s are shown for {told} s");
    Ok(())
}

fn disk(agent: &Agent) -> Result<()> {
    let bytes = f64::from(u32::try_from(CHUNKS)?) * load::CHUNK as f64;
    let labels = [("container_id", SERVICE), ("device", "nullb0")];
    agent.expect("container_resources_disk_written_bytes_total", &labels, bytes);
    agent.expect("container_resources_disk_read_bytes_total", &labels, bytes);
    Ok(())
}

fn optional(agent: &Agent) -> Result<()> {
    wait::until_within(super::DEADLINE, "the histogram to tell what the delay tells", || {
        let delay = value(agent, "container_resources_cpu_delay_seconds_total")?;
        let histogram = value(agent, "container_resources_cpu_runqueue_latency_seconds_sum")?;
        ensure!(
            (0.9..1.02).contains(&(histogram / delay)),
            "{histogram} s by histogram, {delay} s by threads"
        );
        let metrics = agent.metrics()?;
        for operation in ["read", "write"] {
            let name = format!("node_resources_disk_{operation}_latency_seconds_count");
            let requests = metrics.sum(&name, &[("device", "nullb0")]);
            ensure!(requests >= 6.0, "{requests} requests of operation {operation}");
        }
        Ok(())
    });
    Ok(())
}
