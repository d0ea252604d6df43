//! What an operator asks Prometheus about containers: processor time, quota, memory and disk, in known amounts.

use sonde_tests::cgroup_files::GroupFiles;
use sonde_tests::docker::Container;
use sonde_tests::product::Sonde;
use sonde_tests::promql::Promql;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, skip, wait};

use crate::own_files::expect_files;
use crate::support::docker;

const MEBIBYTE: f64 = 1_048_576.0;

fn resource(container: &Container<'_>, name: &str) -> String {
    format!("container_resources_{name}{{container_id=\"{}\"}}", container.id())
}

/// Waits until an expression is within bounds.
#[track_caller]
fn expect_within(promql: Promql, expression: &str, low: f64, high: f64) -> f64 {
    wait::until(&format!("{expression} to be from {low} to {high}"), || {
        let value = promql.value(expression).map_err(|error| format!("{error:#}"))?;
        wait::ensure((low..=high).contains(&value), || format!("it is {value}")).map(|()| value)
    })
}

#[test]
fn processor_time_and_its_quota() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    const BURNED: f64 = 0.5;
    let docker = docker();
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let promql = prometheus.promql();
    let free = docker.run("free", &[], &["wait"]);
    let limited = docker.run("limited", &["--cpus", "0.1"], &["wait"]);
    let [free_files, limited_files] = [&free, &limited].map(|it| GroupFiles::of(&it.pid()));
    let before = expect_files(promql, &limited.id(), &limited_files);
    expect_files(promql, &free.id(), &free_files);
    for container in [&free, &limited] {
        container.traffic(&["burn", "500"]);
    }
    let after = expect_files(promql, &limited.id(), &limited_files);
    let grown = |name: &str| {
        let name = format!("container_resources_{name}");
        after[&name] - before[&name]
    };
    let used = grown("cpu_usage_seconds_total");
    // What `docker exec` itself costs inside the group.
    assert!((BURNED..BURNED + 0.5).contains(&used), "{used} s were used");
    // A tenth of a core is 10 ms in each period of 100 ms; the kernel hands out slices of 5 ms at a time.
    let (periods, throttled) = (grown("cpu_periods_total"), grown("cpu_throttled_periods_total"));
    let least = BURNED / 0.015;
    assert!(periods > least, "{used} s took {periods} periods");
    assert!((0.7 * least..=periods).contains(&throttled), "{throttled} of {periods} periods were throttled");
    let waited = grown("cpu_throttled_seconds_total");
    assert!((0.01 * throttled..0.1 * periods * 4.0).contains(&waited), "throttled for {waited} s");
    promql.expect(&[
        (resource(&limited, "cpu_limit_cores"), 0.1),
        (format!("absent({})", resource(&free, "cpu_limit_cores")), 1.0),
        (resource(&free, "cpu_throttled_periods_total"), 0.0),
        (resource(&free, "cpu_throttled_seconds_total"), 0.0),
    ]);
    let ratio = [resource(&limited, "cpu_throttled_periods_total"), resource(&limited, "cpu_periods_total")]
        .join(" / ");
    expect_within(promql, &ratio, 0.4, 1.0);
}

#[test]
fn memory_against_its_limit() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let promql = prometheus.promql();
    let small = docker.run("small", &["--memory", "200m"], &["allocate", "20971520"]);
    let large = docker.run("large", &["--memory", "200m"], &["allocate", "125829120"]);
    for (container, bytes) in [(&small, 20.0 * MEBIBYTE), (&large, 120.0 * MEBIBYTE)] {
        container.wait_for("allocated");
        promql.expect(&[(resource(container, "memory_limit_bytes"), 200.0 * MEBIBYTE)]);
        expect_within(promql, &resource(container, "memory_rss_bytes"), bytes, bytes + 8.0 * MEBIBYTE);
        let full =
            [resource(container, "memory_working_set_bytes"), resource(container, "memory_limit_bytes")];
        expect_within(
            promql,
            &full.join(" / "),
            bytes / (200.0 * MEBIBYTE),
            bytes / (200.0 * MEBIBYTE) + 0.1,
        );
    }
    let more =
        format!("{} - on() {}", resource(&large, "memory_rss_bytes"), resource(&small, "memory_rss_bytes"));
    expect_within(promql, &more, 98.0 * MEBIBYTE, 102.0 * MEBIBYTE);
    docker.command(&["update", "--memory", "150m", "--memory-swap", "150m", large.name()]);
    promql.expect(&[(resource(&large, "memory_limit_bytes"), 150.0 * MEBIBYTE)]);
}

#[test]
fn reads_and_writes_of_a_disk() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    const CHUNKS: f64 = 24.0;
    let directory = tempfile::tempdir_in("/var/tmp").expect("make a directory");
    let Some(device) = crate::block::disk(directory.path()) else {
        return skip::record("/var/tmp is not on a disk of its own number");
    };
    let docker = docker();
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let promql = prometheus.promql();
    let volume = format!("{}:/data", directory.path().display());
    let [one, other] = ["one", "other"].map(|name| docker.run(name, &["--volume", &volume], &["wait"]));
    let total = |container: &Container<'_>, what: &str| {
        let id = container.id();
        format!(
            "sum(container_resources_disk_{what}_total{{container_id=\"{id}\",device=\"{device}\"}}) or vector(0)"
        )
    };
    for container in [&one, &other] {
        promql.expect(&[(format!("container_info{{container_id=\"{}\"}}", container.id()), 1.0)]);
    }
    // The file has its blocks: what is written from now on is its content and nothing else.
    one.traffic(&["direct", "/data/file", "24"]);
    expect_within(promql, &total(&one, "written_bytes"), CHUNKS * MEBIBYTE, (CHUNKS + 1.0) * MEBIBYTE);
    expect_within(promql, &total(&one, "read_bytes"), CHUNKS * MEBIBYTE, (CHUNKS + 16.0) * MEBIBYTE);
    let value = |what: &str| promql.value(&total(&one, what)).expect("a value");
    let (written, read) = (value("written_bytes"), value("read_bytes"));
    let (writes, reads) = (value("writes"), value("reads"));
    one.traffic(&["direct", "/data/file", "24"]);
    promql.expect(&[(total(&one, "written_bytes"), written + CHUNKS * MEBIBYTE)]);
    expect_within(
        promql,
        &total(&one, "read_bytes"),
        read + CHUNKS * MEBIBYTE,
        read + (CHUNKS + 4.0) * MEBIBYTE,
    );
    // One request for each chunk, or a few where the file is in pieces or the disk takes less at once.
    let requests = [value("writes") - writes, value("reads") - reads];
    assert!(
        requests.iter().all(|count| (CHUNKS..=16.0 * CHUNKS).contains(count)),
        "{requests:?} writes and reads"
    );
    promql.expect(&[(total(&other, "written_bytes"), 0.0)]);
    for name in ["container_resources_disk_reads_total", "container_resources_disk_writes_total"] {
        let labelled =
            format!("{name}{{container_id=\"{}\",mount_point=\"/data\",device=\"{device}\"}}", one.id());
        promql.value(&labelled).expect("the volume's mount point");
    }
}
