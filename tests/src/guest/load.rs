//! Disks and CPUs in the guest: a service that contends for a CPU and writes to a device without a file system, and the
//! optional probes beside it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Agent, check, child_command, hierarchy};
use crate::traffic::load;
use crate::wait;

const SERVICE: &str = "/system.slice/guest-load.service";
const DISK: &str = "/dev/nullb0";
const DISK_STAT: &str = "/sys/block/nullb0/stat";
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
    hierarchy::enter(SERVICE)?;
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
    agent.expect(&[
        ("container_resources_disk_written_bytes_total", &labels, bytes),
        ("container_resources_disk_read_bytes_total", &labels, bytes),
    ]);
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
        Ok(())
    });
    requests(agent)
}

/// Every request to the disk is in its histogram, as the kernel itself counts them.
pub(super) fn requests(agent: &Agent) -> Result<()> {
    let told = || {
        let metrics = agent.metrics()?;
        let requests = |operation| {
            metrics.sum(
                &format!("node_resources_disk_{operation}_latency_seconds_count"),
                &[("device", "nullb0")],
            )
        };
        anyhow::Ok([requests("read"), requests("write")])
    };
    let before = (told()?, completed()?);
    load::direct(Path::new(DISK), CHUNKS)?;
    let after = completed()?;
    let kernel = [after[0] - before.1[0], after[1] - before.1[1]];
    let least = f64::from(u32::try_from(CHUNKS)?);
    ensure!(kernel.iter().all(|requests| *requests >= least), "the kernel counts {kernel:?}");
    wait::until_within(super::DEADLINE, "the histograms to have what the kernel counts", || {
        let now = told()?;
        let seen = [now[0] - before.0[0], now[1] - before.0[1]];
        ensure!(seen == kernel, "{seen:?} of {kernel:?}");
        Ok(())
    });
    Ok(())
}

/// Reads and writes that the disk has done, from its `stat` (Documentation/block/stat.rst).
fn completed() -> Result<[f64; 2]> {
    let text = fs::read_to_string(DISK_STAT).with_context(|| format!("read {DISK_STAT}"))?;
    let field = |index| -> Result<f64> {
        let field = text.split_ascii_whitespace().nth(index).context("a field is missing")?;
        field.parse().context("read a number")
    };
    Ok([field(0)?, field(4)?])
}
