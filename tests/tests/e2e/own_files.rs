//! Every number that a container's groups have, against the files of the groups themselves, through Prometheus.

use std::fs;

use sonde_tests::cgroup_files::{GroupFiles, Rows};
use sonde_tests::docker::Container;
use sonde_tests::process::run;
use sonde_tests::product::Sonde;
use sonde_tests::promql::Promql;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker, traffic};

const MEBIBYTE: f64 = 1_048_576.0;

/// Adds an owner to a series of [`Rows`].
fn of(container_id: &str, series: &str) -> String {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    format!("{name}{{container_id=\"{container_id}\",{labels}")
}

/// The value of a row; panics when the kernel has none.
#[track_caller]
fn row(rows: &Rows, name: &str) -> f64 {
    *rows.get(&format!("container_resources_{name}")).unwrap_or_else(|| panic!("no {name} in {rows:?}"))
}

/// Waits until Prometheus has exactly what the files of an idle group say, and returns that.
#[track_caller]
pub fn expect_files(promql: Promql, container_id: &str, files: &GroupFiles) -> Rows {
    wait::until(&format!("what the groups of {container_id} say"), || {
        let mut seen = Rows::new();
        for series in files.rows().into_keys() {
            let value = promql.value(&of(container_id, &series)).map_err(|error| format!("{error:#}"))?;
            seen.insert(series, value);
        }
        let kernel = files.rows();
        let different: Vec<_> =
            kernel.iter().filter(|(series, value)| seen.get(*series) != Some(value)).collect();
        let shown: Vec<_> = different.iter().map(|(series, _)| seen.get(*series)).collect();
        wait::ensure(different.is_empty(), || format!("the kernel says {different:?}, shown is {shown:?}"))?;
        Ok::<_, String>(kernel)
    })
}

fn files_of(container: &Container<'_>) -> GroupFiles {
    GroupFiles::of(&container.pid())
}

#[test]
fn user_and_system_time_are_told_apart() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let container = docker.run("worker", &[], &["wait"]);
    let (promql, files) = (prometheus.promql(), files_of(&container));
    let before = expect_files(promql, &container.id(), &files);
    let said = container.traffic(&["work", "900", "600"]);
    let ticks: Vec<f64> = said.split(' ').map(|word| word.parse().expect("a number of ticks")).collect();
    let [user, system] =
        [ticks[0], ticks[1]].map(|ticks| ticks / rustix::param::clock_ticks_per_second() as f64);
    let after = expect_files(promql, &container.id(), &files);
    let grown = |name| row(&after, name) - row(&before, name);
    let modes = [grown("cpu_user_seconds_total"), grown("cpu_system_seconds_total")];
    // What `docker exec` itself costs comes on top. A tick goes to the mode that it finds.
    for (mode, own) in modes.into_iter().zip([user, system]) {
        assert!(
            (own - 0.1..own + 0.3).contains(&mode),
            "{modes:?} s beside the program's {user} and {system}"
        );
    }
    let all = grown("cpu_usage_seconds_total");
    assert!((modes[0] + modes[1] - all).abs() < 0.15, "{modes:?} s of {all} s");
}

#[test]
fn memory_faults_and_pressure_are_what_the_groups_say() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let directory = tempfile::tempdir_in("/var/tmp").expect("make a directory");
    let program = directory.path().join("traffic");
    fs::copy(TRAFFIC, &program).expect("copy the program");
    let docker = docker();
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let mount = format!("{}:/data", directory.path().display());
    let options = ["--volume", &mount, "--memory", "48m", "--memory-swap", "64m", "--pids-limit", "77"];
    let container = docker.run("cache", &options, &["wait"]);
    let (promql, files, id) = (prometheus.promql(), files_of(&container), container.id());
    let before = expect_files(promql, &id, &files);
    let grown = |after: &Rows, name: &str| row(after, name) - row(&before, name);

    container.traffic(&["keep", "/data/kept", "12"]);
    let after = expect_files(promql, &id, &files);
    let kept = grown(&after, "memory_cache_bytes");
    // The file system's own blocks, and libraries that are loaded.
    assert!((12.0 * MEBIBYTE..16.0 * MEBIBYTE).contains(&kept), "{kept} bytes more are cached");
    let set = grown(&after, "memory_working_set_bytes");
    assert!(set < 6.0 * MEBIBYTE, "inactive pages are no part of the working set, which grew by {set}");
    let limits = [
        ("memory_limit_bytes", 48.0 * MEBIBYTE),
        ("memory_effective_limit_bytes", 48.0 * MEBIBYTE),
        ("tasks", 1.0),
        ("tasks_limit", 77.0),
    ];
    // Not every kernel accounts swap.
    let has_swap = after.contains_key("container_resources_memory_swap_bytes");
    for (name, value) in
        limits.into_iter().chain(has_swap.then_some(("memory_swap_limit_bytes", 16.0 * MEBIBYTE)))
    {
        assert!(row(&after, name).total_cmp(&value).is_eq(), "{name} is {}", row(&after, name));
    }

    // Nothing of the program is in memory when it starts.
    run(&mut traffic(&["evict", &program.display().to_string()]));
    let said = docker.command(&["exec", container.name(), "/data/traffic", "faults"]);
    let own: f64 = said.parse().expect("a number of faults");
    assert!(own > 0.0, "the program waited for no page");
    let after = expect_files(promql, &id, &files);
    let faults = grown(&after, "memory_major_faults_total");
    assert!(faults >= own, "{faults} faults beside the program's {own}");

    // More than there is room for: old pages have to go, again and again.
    container.traffic(&["keep", "/data/more", "100"]);
    let after = expect_files(promql, &id, &files);
    let met = grown(&after, "memory_events_total{event=\"max\"}");
    assert!(met > 10.0, "the limit was met {met} times");
    container.traffic(&["contend", "3", "400"]);
    container.traffic(&["synced", "/data/synced", "16"]);
    let after = expect_files(promql, &id, &files);
    if files.unified().is_some_and(|group| group.join("cpu.pressure").exists()) {
        let waited = grown(&after, "cpu_pressure_waiting_seconds_total{kind=\"some\"}");
        // Three that burn 0.4 s each on one CPU; the last one is alone with it.
        assert!((0.3..30.0).contains(&waited), "{waited} s of pressure");
        let for_io = grown(&after, "io_pressure_waiting_seconds_total{kind=\"some\"}");
        assert!(for_io > 0.0, "nothing waited for a disk");
    } else {
        assert!(after.keys().all(|name| !name.contains("pressure")), "there is no pressure to compare");
    }
}
