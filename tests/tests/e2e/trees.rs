//! Group trees as systemd and the kubelet make them, in the v1 hierarchies and in the unified one, with a process in each:
//! whose a group is and what it used, both exactly.

use std::path::Path;

use sonde_tests::cgroup::{PathCgroup, Version};
use sonde_tests::cgroup_files::GroupFiles;
use sonde_tests::process::Process;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::names::{nomad, own_group, shapes};
use crate::own_files::expect_files;
use crate::support::TRAFFIC;

const MEBIBYTE: u64 = 1 << 20;

/// One of the trees' leaves, with the process in it. Dropped in this order: the process, its group, its owner's.
struct Leaf {
    container_id: String,
    files: GroupFiles,
    process: Process,
    is_limited: bool,
    groups: [PathCgroup; 2],
}

impl Leaf {
    /// A process that burns 100 ms of CPU for each of `number`, keeps a MiB for each, and stays.
    #[track_caller]
    fn start(
        (version, of): (Version, u32),
        path: &str,
        container_id: String,
        number: u64,
        directory: &Path,
    ) -> Option<Self> {
        let [group, own] = [PathCgroup::new(version, path)?, PathCgroup::new(version, own_group(path))?];
        let limit = (number * 64 * MEBIBYTE).to_string();
        let is_limited = own.set("memory.limit_in_bytes", &limit) | own.set("memory.max", &limit);
        let mut command = group.command("sh");
        let script =
            format!("'{TRAFFIC}' burn {} && exec '{TRAFFIC}' allocate {}", number * 100, number * MEBIBYTE);
        command.args(["-c", &script]).envs(nomad(of));
        let process = Process::start(&format!("leaf-{number}"), command, directory);
        Some(Self {
            container_id,
            files: GroupFiles::at(own_group(path)),
            process,
            is_limited,
            groups: [group, own],
        })
    }

    /// What Prometheus has of it is what its files say, and what the files say is what the process did.
    #[track_caller]
    fn assert_is_exact(&self, prometheus: &Tsdb, number: u64) {
        let id = &self.container_id;
        wait::until(&format!("the work in {id}"), || {
            let output = self.process.output();
            wait::ensure(output.contains("allocated"), || output)
        });
        let of = |name: &str| format!("{name}{{container_id=\"{id}\"}}");
        if id.ends_with("@.service") {
            // Instances of one connection each share a name and come and go: no group's files are all of them.
            return prometheus.promql().expect(&[
                (of("container_resources_tasks"), 1.0),
                (format!("absent({})", of("container_resources_cpu_usage_seconds_total")), 1.0),
            ]);
        }
        let rows = expect_files(prometheus.promql(), id, &self.files);
        let value = |name: &str| rows.get(&format!("container_resources_{name}")).copied();
        let burned = number as f64 * 0.1;
        let used = value("cpu_usage_seconds_total").expect("the time used");
        // Shell and program start and end in the group, too, and the memory is written.
        assert!((burned..burned + 0.4).contains(&used), "{id} used {used} s to burn {burned} s");
        if let Some(resident) = value("memory_rss_bytes") {
            let kept = (number * MEBIBYTE) as f64;
            assert!((kept..kept + 16e6).contains(&resident), "{id} has {resident} bytes, not {kept}");
        }
        let limit = self.is_limited.then_some((number * 64 * MEBIBYTE) as f64);
        assert_eq!(value("memory_limit_bytes"), limit, "the limit of {id}");
        prometheus.promql().expect(&[
            (of("container_resources_tasks"), 1.0),
            (of("container_restarts_total"), 0.0),
            (format!("sum({}) or vector(0)", of("container_oom_kills_total")), 0.0),
        ]);
    }
}

fn exercise(version: Version, of: u32) {
    let directory = tempfile::tempdir().expect("create a directory");
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let leaves: Vec<Leaf> = shapes(of)
        .into_iter()
        .zip(1..)
        .map_while(|((path, id), number)| Leaf::start((version, of), &path, id, number, directory.path()))
        .collect();
    for (leaf, number) in leaves.iter().zip(1..) {
        leaf.assert_is_exact(&prometheus, number);
    }
    // A group that empties and is removed ends with all it had.
    let mut leaves = leaves;
    let Some(Leaf { container_id, mut process, groups, .. }) = leaves.pop() else { return };
    process.kill();
    drop(groups);
    let gone =
        format!("absent(container_resources_cpu_usage_seconds_total{{container_id=\"{container_id}\"}})");
    prometheus.promql().expect(&[(gone, 1.0)]);
}

#[test]
fn every_tree_on_v1_has_its_numbers() {
    require!(Need::Root, Need::Tool("prometheus"), Need::File("/sys/fs/cgroup/memory/tasks"));
    exercise(Version::V1, 3);
}

#[test]
fn every_tree_on_v2_has_its_numbers() {
    require!(Need::Root, Need::Tool("prometheus"));
    exercise(Version::V2, 4);
}
