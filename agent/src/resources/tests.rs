use std::fs;
use std::path::Path;

use super::*;

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

const V1: [(&str, &str, &str); 3] =
    [("cgroup", "cpu,cpuacct", "cpu,cpuacct"), ("cgroup", "memory", "memory"), ("cgroup", "blkio", "blkio")];

#[test]
fn v1_is_read_completely() {
    let (_root, mounts) = host(
        &V1,
        &[
            ("cpu,cpuacct/docker/abc/cpuacct.usage", "1500000000\n"),
            ("cpu,cpuacct/docker/abc/cpu.stat", "nr_periods 3\nnr_throttled 1\nthrottled_time 250000000\n"),
            ("cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "150000\n"),
            ("cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            (
                "memory/docker/abc/memory.stat",
                "cache 1\nrss 2\ntotal_cache 40\ntotal_rss 30\ntotal_mapped_file 5\n",
            ),
            ("memory/docker/abc/memory.limit_in_bytes", "1048576\n"),
            (
                "blkio/docker/abc/blkio.throttle.io_serviced",
                "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
            ),
            (
                "blkio/docker/abc/blkio.throttle.io_service_bytes",
                "8:0 Read 512\n8:16 Write 1024\nTotal 1536\n",
            ),
        ],
    );
    let read = read(&mounts, &paths());
    assert_eq!(
        read.cpu,
        Cpu { usage_seconds: Some(1.5), throttled_seconds: Some(0.25), limit_cores: Some(1.5) }
    );
    assert_eq!(
        read.memory,
        Memory { rss_bytes: Some(35), cache_bytes: Some(40), limit_bytes: Some(1_048_576) }
    );
    assert_eq!(
        read.disks,
        [
            DiskIo { reads: Some(1), writes: Some(2), read_bytes: Some(512), ..DiskIo::new(device(0)) },
            DiskIo { written_bytes: Some(1024), ..DiskIo::new(device(16)) },
        ]
    );
    assert_eq!(read.pressure, Pressure::default());
}

#[test]
fn no_limit_is_absent_on_v1() {
    let (_root, mounts) = host(
        &V1,
        &[
            ("cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            ("memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"),
        ],
    );
    assert_eq!(read(&mounts, &paths()), Resources::default());
}

const V2_FILES: [(&str, &str); 8] = [
    ("docker/abc/cpu.stat", "usage_usec 2500000\nuser_usec 1\nnr_throttled 1\nthrottled_usec 500000\n"),
    ("docker/abc/cpu.max", "50000 100000\n"),
    ("docker/abc/memory.stat", "anon 100\nfile 300\nfile_mapped 20\nfile_dirty 7\n"),
    ("docker/abc/memory.max", "2048\n"),
    ("docker/abc/io.stat", "8:16 \n8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n"),
    ("docker/abc/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n"),
    ("docker/abc/memory.pressure", "some avg10=0.00 total=1\nfull avg10=0.00 total=3000000\n"),
    ("docker/abc/io.pressure", "some total=4000000\nfull total=5000000\n"),
];

#[test]
fn v2_is_read_completely() {
    let (_root, mounts) = host(&[("cgroup2", "", "nsdelegate")], &V2_FILES);
    let read = read(&mounts, &CgroupPaths { v1: None, v2: Some(CONTAINER.into()) });
    assert_eq!(
        read.cpu,
        Cpu { usage_seconds: Some(2.5), throttled_seconds: Some(0.5), limit_cores: Some(0.5) }
    );
    assert_eq!(read.memory, Memory { rss_bytes: Some(120), cache_bytes: Some(300), limit_bytes: Some(2048) });
    let io = DiskIo {
        device: device(0),
        reads: Some(3),
        writes: Some(4),
        read_bytes: Some(1),
        written_bytes: Some(2),
    };
    assert_eq!(read.disks, [io]);
    assert_eq!(read.pressure.cpu, Stall { some_seconds: Some(2.0), full_seconds: None });
    assert_eq!(read.pressure.memory, Stall { some_seconds: Some(1e-6), full_seconds: Some(3.0) });
    assert_eq!(read.pressure.io, Stall { some_seconds: Some(4.0), full_seconds: Some(5.0) });
}

#[test]
fn no_limit_is_absent_on_v2() {
    let (_root, mounts) = host(
        &[("cgroup2", "", "rw")],
        &[("docker/abc/cpu.max", "max 100000\n"), ("docker/abc/memory.max", "max\n")],
    );
    assert_eq!(read(&mounts, &paths()), Resources::default());
}

/// v1 has `cpuacct`, v2 the rest: each value comes from the hierarchy that has its controller.
#[test]
fn hybrid_reads_each_controller_where_it_is() {
    let mut files: Vec<(String, &str)> =
        V2_FILES.iter().map(|(path, text)| (format!("unified/{path}"), *text)).collect();
    files.push(("cpuacct/docker/abc/cpuacct.usage".into(), "7000000000\n"));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let (_root, mounts) = host(&[("cgroup", "cpuacct", "cpuacct"), ("cgroup2", "unified", "rw")], &files);
    let read = read(&mounts, &paths());
    assert_eq!(read.cpu.usage_seconds, Some(7.0));
    assert_eq!(read.memory.rss_bytes, Some(120));
    assert_eq!(read.pressure.cpu.some_seconds, Some(2.0));
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
        ],
    );
    assert_eq!(read(&mounts, &paths()), Resources::default());
}

#[test]
fn a_path_never_leaves_its_mount() {
    assert_eq!(below(Path::new("/mnt"), "/a/b"), Path::new("/mnt/a/b"));
    assert_eq!(below(Path::new("/mnt"), ""), Path::new("/mnt"));
}
