//! What a group uses, may use and waits for: the agent's numbers are those of the kernel's own files, on the unified
//! hierarchy and on v1 ones.

use anyhow::{Result, ensure};

use super::tests::{Role, command_in, count};
use super::{Agent, DEADLINE, check, choices, hierarchy};
use crate::traffic::load::CHUNK;
use crate::wait;

const SLICE: &str = "/guest.slice";
const SERVICE: &str = "/guest.slice/guest-limited.service";
/// In the slice of all other services.
const OTHERS: &str = "/system.slice/guest-others.service";
const OWNER: [(&str, &str); 1] = [("container_id", SERVICE)];
const MEMORY: u64 = 64 << 20;
/// The slice may have less than its only service.
const SLICE_MEMORY: u64 = 48 << 20;
const ALLOCATED: u64 = 24 << 20;
/// In microseconds, of periods of 100 ms.
const QUOTA: &str = "25000";
const TASKS: &str = "50";
/// CPU time that takes four times as long by the quota.
const BURN_MILLIS: &str = "400";
const CHUNKS: u64 = 3;
const DISK: &str = "/dev/nullb0";

/// Makes the service, before any agent starts that is to find its controllers.
pub(super) fn prepare() -> Result<()> {
    hierarchy::create(SERVICE)?;
    hierarchy::create(OTHERS)?;
    let memory = if hierarchy::has_v1() {
        hierarchy::set(SERVICE, "cpu.cfs_quota_us", QUOTA)?;
        "memory.limit_in_bytes"
    } else {
        hierarchy::hand_down(SERVICE, "+cpu +memory +pids +io")?;
        // Files count disks where everybody has one, those of the tests before too.
        hierarchy::hand_down(OTHERS, "+io")?;
        hierarchy::set(SERVICE, "cpu.max", &format!("{QUOTA} 100000"))?;
        "memory.max"
    };
    hierarchy::set(SLICE, memory, &SLICE_MEMORY.to_string())?;
    hierarchy::set(SERVICE, memory, &MEMORY.to_string())?;
    hierarchy::set(SERVICE, "pids.max", TASKS)
}

/// All tests of this page.
pub(super) fn run_all(agent: &Agent) {
    check("limits_and_memory_are_the_kernels", || limits(agent));
    check("throttling_is_the_kernels", || throttling(agent));
    check("pressure_is_the_kernels", || pressure(agent));
    check("io_of_a_limited_service_is_exact", || writer(agent));
}

fn series(name: &str) -> String {
    format!("container_resources_{name}")
}

/// Waits until the agent tells what the kernel's files do, both read anew each time.
fn expect_kernels(agent: &Agent, what: &str, kernel: impl Fn() -> Result<Vec<(&'static str, f64)>>) {
    wait::until_within(DEADLINE, what, || {
        let expected = kernel()?;
        let metrics = agent.metrics()?;
        for (name, expected) in expected {
            let seen = metrics.value(&series(name), &OWNER)?;
            ensure!((seen - expected).abs() < 1e-9, "{name} is {seen}, the kernel says {expected}");
        }
        anyhow::Ok(())
    });
}

fn limits(agent: &Agent) -> Result<()> {
    let (_child, _) = Role::start_in(SERVICE, &["allocate", &ALLOCATED.to_string()], "allocated ")?;
    agent.expect(&[
        ("container_resources_memory_limit_bytes", &OWNER, count(MEMORY)),
        ("container_resources_memory_effective_limit_bytes", &OWNER, count(SLICE_MEMORY)),
        ("container_resources_cpu_limit_cores", &OWNER, 0.25),
        ("container_resources_tasks", &OWNER, 1.0),
        ("container_resources_tasks_limit", &OWNER, 50.0),
    ]);
    let keys = if hierarchy::has_v1() {
        ["total_rss ", "total_mapped_file ", "total_cache ", "total_inactive_file "]
    } else {
        ["anon ", "file_mapped ", "file ", "inactive_file "]
    };
    let used = if hierarchy::has_v1() { "memory.usage_in_bytes" } else { "memory.current" };
    expect_kernels(agent, "the memory that the kernel tells", || {
        let [anonymous, mapped, cache, inactive] =
            keys.map(|key| hierarchy::number(SERVICE, "memory.stat", key));
        let (anonymous, inactive) = (anonymous?, inactive?);
        // Kernels count in batches by processor.
        ensure!(anonymous >= count(ALLOCATED) * 0.98, "{anonymous} bytes were allocated");
        Ok(vec![
            ("memory_rss_bytes", anonymous + mapped?),
            ("memory_cache_bytes", cache?),
            ("memory_working_set_bytes", (hierarchy::number(SERVICE, used, "")? - inactive).max(0.0)),
        ])
    });
    Ok(())
}

fn throttling(agent: &Agent) -> Result<()> {
    let (_stays, _) = Role::start_in(SERVICE, &["udp", "serve", "127.0.0.1:0"], "listening ")?;
    let burned = command_in(SERVICE, &["burn", BURN_MILLIS]).status()?;
    ensure!(burned.success(), "the burning ended with {burned}");
    let (key, unit) = if hierarchy::has_v1() { ("throttled_time ", 1e9) } else { ("throttled_usec ", 1e6) };
    let used = || -> Result<f64> {
        if hierarchy::has_v1() {
            return Ok(hierarchy::number(SERVICE, "cpuacct.usage", "")? / 1e9);
        }
        Ok(hierarchy::number(SERVICE, "cpu.stat", "usage_usec ")? / 1e6)
    };
    expect_kernels(agent, "the throttling that the kernel tells", || {
        let [periods, throttled, time] =
            ["nr_periods ", "nr_throttled ", key].map(|key| hierarchy::number(SERVICE, "cpu.stat", key));
        let (throttled, used) = (throttled?, used()?);
        ensure!(throttled >= 3.0 && used >= 0.4, "throttled in {throttled} periods, {used} s used");
        Ok(vec![
            ("cpu_periods_total", periods?),
            ("cpu_throttled_periods_total", throttled),
            ("cpu_throttled_seconds_total", time? / unit),
            ("cpu_usage_seconds_total", used),
        ])
    });
    Ok(())
}

/// The groups of the unified hierarchy have it, whatever controllers they have.
fn pressure(agent: &Agent) -> Result<()> {
    let (_stays, _) = Role::start_in(SERVICE, &["udp", "serve", "127.0.0.1:0"], "listening ")?;
    let total = |resource: &str, kind: &str| -> Result<f64> {
        let file = hierarchy::file(SERVICE, &format!("{resource}.pressure"))?;
        let text = std::fs::read_to_string(file)?;
        let line = text.lines().find(|line| line.starts_with(kind));
        let Some((_, micros)) = line.and_then(|line| line.rsplit_once("total=")) else { return Ok(f64::NAN) };
        Ok(micros.trim().parse::<f64>()? / 1e6)
    };
    wait::until_within(DEADLINE, "the pressure that the kernel tells", || {
        ensure!(total("cpu", "some")? > 0.0, "being throttled is no pressure");
        let metrics = agent.metrics()?;
        for resource in ["cpu", "memory", "io"] {
            for kind in ["some", "full"] {
                let kernel = total(resource, kind)?;
                let name = series(&format!("{resource}_pressure_waiting_seconds_total"));
                let shown = metrics.select(&name, &[OWNER[0], ("kind", kind)]);
                // Older kernels do not tell for how long all tasks wait for a CPU.
                let is_told = match shown.as_slice() {
                    [] => kernel.is_nan(),
                    [sample] => (sample.value - kernel).abs() < 1e-9,
                    _ => false,
                };
                ensure!(is_told, "{name} of {kind} is {shown:?}, the kernel says {kernel}");
            }
        }
        Ok(())
    });
    Ok(())
}

/// By the group's own files where they count, else by the kernel half.
fn writer(agent: &Agent) -> Result<()> {
    let (verdict, reason) = choices::probe(agent, "block/io")?;
    let expected = if hierarchy::has_v1() { "ok" } else { "disabled" };
    ensure!(verdict == expected, "block/io is {verdict}: {reason}");
    let (_stays, _) = Role::start_in(SERVICE, &["udp", "serve", "127.0.0.1:0"], "listening ")?;
    let wrote = command_in(SERVICE, &["direct", DISK, &CHUNKS.to_string()]).status()?;
    ensure!(wrote.success(), "the writer ended with {wrote}");
    let labels = [OWNER[0], ("device", "nullb0")];
    let bytes = count(CHUNKS * CHUNK as u64);
    agent.expect(&[
        ("container_resources_disk_written_bytes_total", &labels, bytes),
        ("container_resources_disk_read_bytes_total", &labels, bytes),
    ]);
    Ok(())
}
