//! Resources of containers and of the node, against what the kernel itself says.

use std::collections::BTreeSet;
use std::fs;

use sonde_tests::docker::Container;
use sonde_tests::exposition::Exposition;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::{require, wait};

use crate::support::docker;

fn resource(agent: &Sonde, container: &Container<'_>, name: &str) -> Result<f64, String> {
    let name = format!("container_resources_{name}");
    let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
    metrics.value(&name, &[("container_id", &container.id())]).map_err(|error| format!("{error:#}"))
}

/// What a container's group says in its own file of its quota: periods, periods in which it was throttled, and the time
/// for which, in seconds. How much a given burn is throttled differs between kernels; since 6.18 it may be nothing.
fn kernel_throttled(container: &Container<'_>) -> [f64; 3] {
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("read the cgroups");
    let path = |mark: &str| groups.lines().find_map(|line| Some(line.split_once(mark)?.1.to_owned()));
    let (file, key, unit) = match path(":cpu:").or_else(|| path(":cpu,cpuacct:")) {
        Some(path) => (format!("/sys/fs/cgroup/cpu{path}/cpu.stat"), "throttled_time ", 1e9),
        None => {
            let path = path("0::").expect("a process is in some group");
            (format!("/sys/fs/cgroup{path}/cpu.stat"), "throttled_usec ", 1e6)
        }
    };
    let text = fs::read_to_string(&file).expect("read the group's statistics");
    let value = |key| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)).expect("the group has the value");
        value.parse::<f64>().expect("a number")
    };
    [value("nr_periods "), value("nr_throttled "), value(key) / unit]
}

#[test]
fn a_containers_cpu_memory_limits_and_restarts_are_shown() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    const BURN_SECONDS: f64 = 1.5;
    const ALLOCATED: f64 = 48.0 * 1048576.0;
    let docker = docker();
    let agent = Sonde::agent().start();
    let busy = docker.run("busy", &["--memory", "96m", "--cpus", "0.75"], &["wait"]);
    let large = docker.run("large", &["--memory", "64m"], &["allocate", "50331648"]);
    agent.expect(&[
        ("container_resources_memory_limit_bytes", &[("container_id", &busy.id())], 96.0 * 1048576.0),
        ("container_resources_memory_limit_bytes", &[("container_id", &large.id())], 64.0 * 1048576.0),
        ("container_resources_cpu_limit_cores", &[("container_id", &busy.id())], 0.75),
    ]);
    let before = resource(&agent, &busy, "cpu_usage_seconds_total").expect("the CPU time");
    busy.traffic(&["burn", "1500"]);
    let used = wait::until("the burn to show", || {
        let used = resource(&agent, &busy, "cpu_usage_seconds_total")? - before;
        wait::ensure(used >= BURN_SECONDS, || format!("{used} s")).map(|()| used)
    });
    // What `docker exec` itself costs inside the group.
    assert!(used < BURN_SECONDS + 0.5, "{used} s were counted for {BURN_SECONDS} s");
    wait::until("the throttling that the kernel tells", || {
        let names = ["cpu_periods_total", "cpu_throttled_periods_total", "cpu_throttled_seconds_total"];
        let seen =
            names.map(|name| resource(&agent, &busy, name)).into_iter().collect::<Result<Vec<_>, _>>()?;
        let kernel = kernel_throttled(&busy);
        wait::ensure(kernel[0] > 0.0, || "no period has passed".to_owned())?;
        wait::equal(seen, kernel.to_vec())
    });
    wait::until("the memory to show", || {
        let resident = resource(&agent, &large, "memory_rss_bytes")?;
        wait::ensure((ALLOCATED..ALLOCATED + 16e6).contains(&resident), || format!("{resident} bytes"))
    });
    let id = busy.id();
    let labels = [("container_id", id.as_str())];
    agent.expect(&[("container_restarts_total", &labels, 0.0)]);
    docker.command(&["restart", "--time", "0", busy.name()]);
    agent.expect(&[("container_restarts_total", &labels, 1.0)]);
}

/// Most of what starts and ends between two scrapes is alive during neither.
#[test]
fn restarts_between_two_scrapes_are_all_counted() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    const CRASHES: &str = "4";
    let docker = docker();
    let agent = Sonde::agent().start();
    let calm = docker.run("calm", &[], &["wait"]);
    // It ends at once, since it lacks an address.
    let crashing = docker.run("crashing", &["--restart", &format!("on-failure:{CRASHES}")], &["fail"]);
    let (calm_id, crashing_id) = (calm.id(), crashing.id());
    let labels = [[("container_id", calm_id.as_str())], [("container_id", crashing_id.as_str())]];
    agent.expect(&[("container_restarts_total", &labels[0], 0.0)]);
    (0..3).for_each(|_| drop(docker.command(&["restart", "--time", "0", calm.name()])));
    agent.expect(&[("container_restarts_total", &labels[0], 3.0)]);
    wait::until("the last crash", || {
        wait::equal(crashing.inspect("{{.RestartCount}} {{.State.Running}}"), format!("{CRASHES} false"))
    });
    agent.expect(&[("container_restarts_total", &labels[1], 4.0)]);
}

/// A number of the kernel, read before and after the agent's, must enclose it.
fn assert_between(name: &str, before: f64, seen: f64, after: f64) {
    let (low, high) = (before.min(after), before.max(after));
    assert!(
        (low..=high).contains(&seen),
        "{name} is {seen}, the kernel says {before} before and {after} after"
    );
}

fn memory_bytes(key: &str) -> f64 {
    let text = fs::read_to_string("/proc/meminfo").expect("read meminfo");
    let line = text.lines().find(|line| line.starts_with(key)).expect("meminfo has the key");
    let kibibytes: f64 = line.split_whitespace().nth(1).expect("a value").parse().expect("a number");
    kibibytes * 1024.0
}

fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").expect("read uptime");
    text.split_whitespace().next().expect("a value").parse().expect("a number")
}

/// Second column of `/proc/net/dev`: received bytes by interface.
fn received() -> Vec<(String, f64)> {
    let text = fs::read_to_string("/proc/net/dev").expect("read net/dev");
    let row = |line: &str| {
        let (name, values) = line.split_once(':')?;
        let bytes = values.split_whitespace().next()?.parse().ok()?;
        Some((name.trim().to_owned(), bytes))
    };
    text.lines().filter_map(row).collect()
}

/// Idle time of all processors, in seconds.
fn idle() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("read stat");
    let ticks: f64 = text.split_whitespace().nth(4).expect("the idle column").parse().expect("a number");
    #[expect(clippy::cast_precision_loss, reason = "there are about a hundred ticks per second")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    ticks / per_second
}

#[test]
fn the_nodes_metrics_are_the_kernels() {
    require!(Need::Root);
    let agent = Sonde::agent().start();
    let fresh = |after: f64| -> Exposition {
        wait::until("a snapshot from now on", || {
            let metrics = agent.metrics()?;
            anyhow::ensure!(metrics.value("node_uptime_seconds", &[])? > after, "it is older");
            Ok(metrics)
        })
    };
    let before = (uptime(), idle(), received());
    let metrics = fresh(before.0);
    let after = (uptime(), idle(), received());
    let value = |name: &str, labels: &[(&str, &str)]| metrics.value(name, labels).expect(name);

    assert_between("uptime", before.0, value("node_uptime_seconds", &[]), after.0);
    let idle = value("node_resources_cpu_usage_seconds_total", &[("mode", "idle")]);
    assert_between("idle time", before.1, idle, after.1);
    assert_eq!(value("node_resources_memory_total_bytes", &[]), memory_bytes("MemTotal:"));
    let available = value("node_resources_memory_available_bytes", &[]);
    assert!(available > 0.0 && available <= memory_bytes("MemTotal:"));
    let cores = fs::read_to_string("/proc/cpuinfo").expect("read cpuinfo").matches("processor\t").count();
    assert_eq!(value("node_resources_cpu_logical_cores", &[]), cores as f64);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read osrelease");
    assert_eq!(value("node_info", &[("kernel_version", release.trim())]), 1.0);

    let shown = metrics.select("node_net_received_bytes_total", &[]);
    assert!(!shown.is_empty(), "no interface is shown");
    for sample in shown {
        let name = &sample.labels["interface"];
        let find =
            |rows: &[(String, f64)]| rows.iter().find(|(known, _)| known == name).map(|(_, bytes)| *bytes);
        // An interface of another test may come and go in between.
        if let (Some(low), Some(high)) = (find(&before.2), find(&after.2)) {
            assert_between(name, low, sample.value, high);
        }
    }
    let modes = metrics.select("node_resources_cpu_usage_seconds_total", &[]);
    let modes: BTreeSet<&str> = modes.iter().map(|sample| sample.labels["mode"].as_str()).collect();
    assert_eq!(modes, ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"].into());
    assert!(!metrics.select("node_resources_disk_written_bytes_total", &[]).is_empty(), "no disk is shown");
}
