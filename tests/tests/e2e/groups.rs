//! Every number of cgroup files on machines made up of files: what this machine may lack, as swap, discards or the other
//! version, exactly as the files say, through Prometheus.

use sonde_tests::made_up::MadeUp;
use sonde_tests::require;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};

const ID: &str = "5d0c7a1b2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
const OWNER: &str = "container_id=\"/kubepods/5d0c7a1b2e3f\"";
const POD: &str = "kubepods/burstable/pod8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e";

const DISKSTATS: &str = "   8       0 sda 9 0 9 9 9 0 9 9 0 9 9\n   8       1 sda1 9 0 9 9 9 0 9 9 0 9 9\n \
                         259       0 nvme0n1 9 0 9 9 9 0 9 9 0 9 9\n";
/// The container sees a volume on a partition of the first disk.
const MOUNTS: &str = "40 30 0:40 / / rw - overlay overlay rw\n\
                      41 40 8:1 /var/lib/kubelet/pods/8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e/volumes/kubernetes.io~local-volume/pv-7 \
                      /data rw - ext4 /dev/sda1 rw\n";

/// A file of the container's group.
fn file(mount: &str, name: &str) -> String {
    format!("{mount}/{POD}/{ID}/{name}").trim_start_matches('/').to_owned()
}

/// A series of the container, with more labels or none.
fn series(name: &str, labels: &str) -> String {
    let labels = if labels.is_empty() { String::new() } else { format!(",{labels}") };
    format!("container_resources_{name}{{{OWNER}{labels}}}")
}

/// I/O on both disks: reads, writes and discards, each as a number and in bytes.
fn disks(first: [f64; 6], second: [f64; 6]) -> Vec<(String, f64)> {
    const NAMES: [&str; 6] =
        ["reads", "writes", "discards", "read_bytes", "written_bytes", "discarded_bytes"];
    let row = |device: &'static str, values: [f64; 6]| {
        NAMES
            .into_iter()
            .zip(values)
            .map(move |(name, value)| (series(&format!("disk_{name}_total"), device), value))
    };
    row("device=\"sda\",mount_point=\"/data\"", first)
        .chain(row("device=\"nvme0n1\",mount_point=\"\"", second))
        .collect()
}

/// Waits until Prometheus has all of that, and no other series of the container's resources.
#[track_caller]
fn expect(prometheus: &Tsdb, rows: &[(&str, &str, f64)], disks: Vec<(String, f64)>) {
    let rows = rows.iter().map(|(name, labels, value)| (series(name, labels), *value));
    let mut expected: Vec<_> = rows.chain(disks).collect();
    let all = format!(
        "count({{__name__=~\"container_resources_.*\",__name__!~\".*_(size|used|reserved)_bytes|.*delay_seconds_total\",{OWNER}}})"
    );
    expected.push((all, expected.len() as f64));
    prometheus.promql().expect(&expected);
}

/// A container with all files of the unified hierarchy, in a pod with a limit of its own.
fn unified() -> MadeUp {
    let machine = MadeUp::new(&[("cgroup2", "", "nsdelegate")]);
    let write = |name: &str, text: &str| machine.cgroup(&file("", name), text);
    machine.cgroup("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
    machine.cgroup(&format!("{POD}/memory.max"), "300000000\n");
    write(
        "cpu.stat",
        "usage_usec 7500000\nuser_usec 5250000\nsystem_usec 2250000\nnr_periods 40\nnr_throttled 13\nthrottled_usec 1125000\n",
    );
    write("cpu.max", "150000 100000\n");
    write(
        "cpu.pressure",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n",
    );
    write(
        "memory.pressure",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=3500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=750000\n",
    );
    write(
        "io.pressure",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=5500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4750000\n",
    );
    write("memory.stat", "anon 1000\nfile 20000\nfile_mapped 300\ninactive_file 4000\npgmajfault 55\n");
    write("memory.current", "25000\n");
    write("memory.max", "400000000\n");
    write("memory.swap.current", "66000\n");
    write("memory.swap.max", "7700000\n");
    write("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n");
    write("pids.current", "6\n");
    write("pids.max", "88\n");
    write(
        "io.stat",
        "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=16384 dios=3\n259:0 rbytes=5 wbytes=6 rios=7 wios=8 dbytes=9 dios=10\n",
    );
    machine.proc("diskstats", DISKSTATS);
    machine.process(4711, &format!("0::/{POD}/{ID}\n"), MOUNTS);
    machine
}

#[test]
fn every_file_of_the_unified_hierarchy_is_shown() {
    require!(Need::Root, Need::Tool("prometheus"));
    let machine = unified();
    let agent = machine.agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let mut rows = vec![
        ("cpu_usage_seconds_total", "", 7.5),
        ("cpu_user_seconds_total", "", 5.25),
        ("cpu_system_seconds_total", "", 2.25),
        ("cpu_periods_total", "", 40.0),
        ("cpu_throttled_periods_total", "", 13.0),
        ("cpu_throttled_seconds_total", "", 1.125),
        ("cpu_limit_cores", "", 1.5),
        ("cpu_pressure_waiting_seconds_total", "kind=\"some\"", 1.5),
        ("cpu_pressure_waiting_seconds_total", "kind=\"full\"", 0.25),
        ("memory_pressure_waiting_seconds_total", "kind=\"some\"", 3.5),
        ("memory_pressure_waiting_seconds_total", "kind=\"full\"", 0.75),
        ("io_pressure_waiting_seconds_total", "kind=\"some\"", 5.5),
        ("io_pressure_waiting_seconds_total", "kind=\"full\"", 4.75),
        ("memory_rss_bytes", "", 1300.0),
        ("memory_cache_bytes", "", 20_000.0),
        ("memory_working_set_bytes", "", 21_000.0),
        ("memory_limit_bytes", "", 400e6),
        // That of the pod.
        ("memory_effective_limit_bytes", "", 300e6),
        ("memory_major_faults_total", "", 55.0),
        ("memory_swap_bytes", "", 66_000.0),
        ("memory_swap_limit_bytes", "", 7.7e6),
        ("memory_events_total", "event=\"high\"", 2.0),
        ("memory_events_total", "event=\"max\"", 3.0),
        ("memory_events_total", "event=\"oom\"", 4.0),
        ("tasks", "", 6.0),
        ("tasks_limit", "", 88.0),
    ];
    let io = [[1.0, 2.0, 3.0, 4096.0, 8192.0, 16_384.0], [7.0, 8.0, 10.0, 5.0, 6.0, 9.0]];
    expect(&prometheus, &rows, disks(io[0], io[1]));
    prometheus.promql().expect(&[(format!("container_oom_kills_total{{{OWNER}}}"), 5.0)]);

    let write = |name: &str, text: &str| machine.cgroup(&file("", name), text);
    // Limits go, swap is used up, a device is gone: nothing stays that no file says.
    write("cpu.max", "max 100000\n");
    write("memory.max", "max\n");
    write("memory.swap.max", "max\n");
    write("memory.swap.current", "7700000\n");
    write("pids.max", "max\n");
    write("io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=32768 dios=4\n");
    rows.retain(|(name, ..)| {
        !["cpu_limit_cores", "memory_limit_bytes", "memory_swap_limit_bytes", "tasks_limit"].contains(name)
    });
    rows.iter_mut().filter(|row| row.0 == "memory_swap_bytes").for_each(|row| row.2 = 7.7e6);
    let mut left = disks([1.0, 2.0, 4.0, 4096.0, 8192.0, 32_768.0], [0.0; 6]);
    left.truncate(6);
    expect(&prometheus, &rows, left);
}

/// A container with all files of the v1 hierarchies.
fn v1() -> MadeUp {
    let machine = MadeUp::new(&[
        ("cgroup", "cpu,cpuacct", "cpu,cpuacct"),
        ("cgroup", "memory", "memory"),
        ("cgroup", "blkio", "blkio"),
        ("cgroup", "pids", "pids"),
    ]);
    let write = |mount: &str, name: &str, text: &str| machine.cgroup(&file(mount, name), text);
    write("cpu,cpuacct", "cpuacct.usage", "7500000000\n");
    write("cpu,cpuacct", "cpuacct.stat", "user 525\nsystem 225\n");
    write("cpu,cpuacct", "cpu.stat", "nr_periods 40\nnr_throttled 13\nthrottled_time 1125000000\n");
    write("cpu,cpuacct", "cpu.cfs_quota_us", "150000\n");
    write("cpu,cpuacct", "cpu.cfs_period_us", "100000\n");
    write(
        "memory",
        "memory.stat",
        "cache 1\nrss 1\nhierarchical_memory_limit 300000000\ntotal_cache 20000\ntotal_rss 1000\n\
         total_mapped_file 300\ntotal_inactive_file 4000\ntotal_pgmajfault 55\ntotal_swap 66000\n",
    );
    write("memory", "memory.usage_in_bytes", "25000\n");
    write("memory", "memory.limit_in_bytes", "400000000\n");
    write("memory", "memory.memsw.limit_in_bytes", "407700000\n");
    write("memory", "memory.failcnt", "3\n");
    write("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
    write("pids", "pids.current", "6\n");
    write("pids", "pids.max", "88\n");
    write(
        "blkio",
        "blkio.throttle.io_serviced_recursive",
        "8:0 Read 1\n8:0 Write 2\n8:0 Discard 3\n8:0 Total 6\n259:0 Read 7\n259:0 Write 8\n259:0 Discard 10\nTotal 31\n",
    );
    write(
        "blkio",
        "blkio.throttle.io_service_bytes_recursive",
        "8:0 Read 4096\n8:0 Write 8192\n8:0 Discard 16384\n259:0 Read 5\n259:0 Write 6\n259:0 Discard 9\nTotal 28692\n",
    );
    machine.proc("diskstats", DISKSTATS);
    let groups: Vec<String> = ["blkio", "pids", "memory", "cpu,cpuacct"]
        .iter()
        .zip(2..)
        .map(|(controllers, number)| format!("{number}:{controllers}:/{POD}/{ID}\n"))
        .collect();
    machine.process(4711, &groups.concat(), MOUNTS);
    machine
}

#[test]
fn every_file_of_the_v1_hierarchies_is_shown() {
    require!(Need::Root, Need::Tool("prometheus"));
    let machine = v1();
    let agent = machine.agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let rows = [
        ("cpu_usage_seconds_total", "", 7.5),
        ("cpu_user_seconds_total", "", 525.0 / ticks),
        ("cpu_system_seconds_total", "", 225.0 / ticks),
        ("cpu_periods_total", "", 40.0),
        ("cpu_throttled_periods_total", "", 13.0),
        ("cpu_throttled_seconds_total", "", 1.125),
        ("cpu_limit_cores", "", 1.5),
        ("memory_rss_bytes", "", 1300.0),
        ("memory_cache_bytes", "", 20_000.0),
        ("memory_working_set_bytes", "", 21_000.0),
        ("memory_limit_bytes", "", 400e6),
        ("memory_effective_limit_bytes", "", 300e6),
        ("memory_major_faults_total", "", 55.0),
        ("memory_swap_bytes", "", 66_000.0),
        ("memory_swap_limit_bytes", "", 7.7e6),
        ("memory_events_total", "event=\"max\"", 3.0),
        ("tasks", "", 6.0),
        ("tasks_limit", "", 88.0),
    ];
    let io = [[1.0, 2.0, 3.0, 4096.0, 8192.0, 16_384.0], [7.0, 8.0, 10.0, 5.0, 6.0, 9.0]];
    expect(&prometheus, &rows, disks(io[0], io[1]));
    prometheus.promql().expect(&[(format!("container_oom_kills_total{{{OWNER}}}"), 5.0)]);
    let status = agent.status();
    let absent = status["absent"].as_array().expect("/status lists what is absent");
    let reason = absent
        .iter()
        .find(|entry| entry["metric"] == "container_resources_cpu_pressure_waiting_seconds_total")
        .expect("pressure is explained");
    assert_eq!(reason["reason"], "no cgroup2 hierarchy is mounted, and pressure is counted nowhere else");
}
