mod counted;
mod explained;
mod kernels;

use std::fs;
use std::path::Path;

use super::*;
use crate::model::DeviceId;

const CONTAINER: &str = "/docker/abc";

/// A host with the given cgroup mounts, each a file system type, a path below `/sys/fs/cgroup`, and options.
fn host(mounts: &[(&str, &str, &str)], files: &[(&str, &str)]) -> (tempfile::TempDir, CgroupMounts) {
    let root = tempfile::tempdir().unwrap();
    let lines: Vec<_> = mounts
        .iter()
        .map(|(kind, path, options)| {
            format!("1 1 0:1 / /sys/fs/cgroup/{path} rw - {kind} {kind} rw,{options}")
        })
        .collect();
    write(&root.path().join("1/mountinfo"), &lines.join("\n"));
    for (_, path, _) in mounts {
        fs::create_dir_all(root.path().join("cgroup").join(path)).unwrap();
    }
    for (path, text) in files {
        write(&root.path().join("cgroup").join(path), text);
    }
    let mounts = CgroupMounts::discover(root.path(), &root.path().join("cgroup"));
    (root, mounts)
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn paths() -> CgroupPaths {
    CgroupPaths { v1: Some(CONTAINER.into()), v2: None }
}

fn device(minor: u32) -> DeviceId {
    DeviceId { major: 8, minor }
}

fn read(mounts: &CgroupMounts, paths: &CgroupPaths) -> Resources {
    Reader::new(DiskSource::Files).read(mounts, paths)
}

const V1: [(&str, &str, &str); 4] = [
    ("cgroup", "cpu,cpuacct", "cpu,cpuacct"),
    ("cgroup", "memory", "memory"),
    ("cgroup", "blkio", "blkio"),
    ("cgroup", "pids", "pids"),
];

#[test]
fn no_limit_is_absent_on_v1() {
    let (_root, mounts) = host(
        &V1,
        &[
            ("cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            ("memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/docker/abc/memory.memsw.limit_in_bytes", "9223372036854771712\n"),
            ("memory/docker/abc/memory.stat", "hierarchical_memory_limit 9223372036854771712\n"),
            ("pids/docker/abc/pids.max", "max\n"),
        ],
    );
    assert_eq!(read(&mounts, &paths()), Resources::default());
}

#[test]
fn no_limit_is_absent_on_v2() {
    let (_root, mounts) = host(
        &[("cgroup2", "", "rw")],
        &[
            ("docker/abc/cpu.max", "max 100000\n"),
            ("docker/abc/memory.max", "max\n"),
            ("docker/abc/memory.swap.max", "max\n"),
            ("docker/abc/pids.max", "max\n"),
        ],
    );
    assert_eq!(read(&mounts, &paths()), Resources::default());
}

#[test]
fn the_effective_limit_of_memory_is_the_smallest_on_the_way_up() {
    let cases: [(&[(&str, &str)], _); 6] = [
        (
            &[("memory.max", "7\n"), ("kube/pod/memory.max", "5\n"), ("kube/pod/ctr/memory.max", "6\n")],
            Some(5),
        ),
        (&[("kube/pod/memory.max", "5\n"), ("kube/pod/ctr/memory.max", "max\n")], Some(5)),
        (&[("kube/pod/memory.max", "max\n"), ("kube/pod/ctr/memory.max", "4\n")], Some(4)),
        (&[("kube/memory.max", "1\n"), ("kube/pod/ctr/memory.max", "max\n")], Some(1)),
        (&[("other/memory.max", "1\n"), ("kube/pod/ctr/memory.max", "max\n")], None),
        (&[("kube/pod/ctr/memory.max", "garbage\n")], None),
    ];
    for (files, expected) in cases {
        let (_root, mounts) = host(&[("cgroup2", "", "rw")], files);
        let mut reader = Reader::new(DiskSource::Files);
        for _ in ["first", "remembered"] {
            let paths = CgroupPaths { v1: None, v2: Some("/kube/pod/ctr".into()) };
            let memory = reader.read(&mounts, &paths).memory;
            assert_eq!(memory.effective_limit_bytes, expected, "{files:?}");
        }
    }
}

/// v1 has `cpuacct`, v2 the rest: each value comes from the hierarchy that has its controller.
#[test]
fn hybrid_reads_each_controller_where_it_is() {
    let unified = [
        ("unified/docker/abc/cpu.stat", "usage_usec 1\nuser_usec 1\nsystem_usec 0\nnr_periods 4\n"),
        ("unified/docker/abc/memory.stat", "anon 100\nfile_mapped 20\n"),
        ("unified/docker/abc/cpu.pressure", "some total=2000000\n"),
        ("cpuacct/docker/abc/cpuacct.usage", "7000000000\n"),
    ];
    let (_root, mounts) = host(&[("cgroup", "cpuacct", "cpuacct"), ("cgroup2", "unified", "rw")], &unified);
    let read = read(&mounts, &paths());
    let cpu = Cpu { usage_seconds: Some(7.0), periods: Some(4), ..Cpu::default() };
    assert_eq!(read.cpu, cpu, "user and system are of the same source as their sum");
    assert_eq!(read.memory.rss_bytes, Some(120));
    assert_eq!(read.pressure.cpu.some_seconds, Some(2.0));
}

/// systemd without accounting gives a service a cgroup in the unified hierarchy only, where its time is counted; its
/// neighbours' quota and memory are not its own.
#[test]
fn a_service_without_v1_cgroups_has_the_time_of_the_unified_hierarchy() {
    let mounts = [&V1[..], &[("cgroup2", "unified", "rw")]].concat();
    let files = [
        ("unified/docker/abc/cpu.stat", "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\n"),
        ("cpu,cpuacct/docker/cpu.cfs_quota_us", "1000\n"),
        ("memory/docker/memory.limit_in_bytes", "1000\n"),
    ];
    let (_root, mounts) = host(&mounts, &files);
    let cpu = Cpu {
        usage_seconds: Some(3.0),
        user_seconds: Some(2.0),
        system_seconds: Some(1.0),
        ..Cpu::default()
    };
    assert_eq!(read(&mounts, &paths()), Resources { cpu, ..Resources::default() });
}

#[test]
fn garbage_is_not_measured() {
    let (_root, mounts) = host(
        &[("cgroup2", "", "rw")],
        &[
            ("docker/abc/cpu.stat", "usage_usec many\nthrottled_usec\n"),
            ("docker/abc/cpu.max", "1 0\n"),
            ("docker/abc/io.stat", "x:y rios=1\n8:0 rios=a\n"),
            ("docker/abc/cpu.pressure", "some total=\n"),
            ("docker/abc/memory.stat", "anon\nfile_mapped -1\nfile x7\ninactive_file 1\n"),
            ("docker/abc/memory.current", "\n"),
            ("docker/abc/memory.events", "oom_kill 18446744073709551616\n"),
            ("docker/abc/pids.current", "1 2\n"),
        ],
    );
    assert_eq!(read(&mounts, &paths()), Resources::default());
}

#[test]
fn a_path_never_leaves_its_mount() {
    assert_eq!(below(Path::new("/mnt"), "/a/b"), Path::new("/mnt/a/b"));
    assert_eq!(below(Path::new("/mnt"), ""), Path::new("/mnt"));
}
