//! Volumes of containers: a named one on a real file system of a loop device.

use std::path::PathBuf;
use std::process::Command;

use sonde_tests::process::run;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::docker;

/// A loop device with an ext4 file system; released when dropped.
struct Disk {
    device: String,
    _directory: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("create a directory");
        let image: PathBuf = directory.path().join("disk");
        let file = std::fs::File::create(&image).expect("create an image");
        file.set_len(64 << 20).expect("give the image its size");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        Self { device, _directory: directory }
    }

    fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// A volume of Docker; removed when dropped.
struct DockerVolume<'d>(&'d sonde_tests::docker::Docker, String);

impl Drop for DockerVolume<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.command(&["volume", "rm", &self.1]);
        }
    }
}

#[test]
fn a_named_volume_has_its_size_and_its_writers_bytes() {
    require!(
        Need::Root,
        Need::Tool("dockerd"),
        Need::File("/bin/busybox"),
        Need::File("/dev/loop-control"),
        Need::Tool("mkfs.ext4"),
        Need::Tool("losetup"),
        Need::Tool("prometheus")
    );
    const WRITTEN: f64 = 8_388_608.0;
    let docker = docker();
    let disk = Disk::new();
    let name = format!("sonde-volume-{}", std::process::id());
    let device = format!("device={}", disk.device);
    docker.command(&["volume", "create", "--opt", "type=ext4", "--opt", &device, &name]);
    let volume = DockerVolume(&docker, name);
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let mount = format!("{}:/data", volume.1);
    let writer = docker.run("writer", &["--volume", &mount], &["wait"]);
    let labels = format!(
        "container_id=\"{}\",mount_point=\"/data\",device=\"{}\",volume=\"{}\"",
        writer.id(),
        disk.name(),
        volume.1
    );
    let series = |metric: &str| format!("container_resources_disk_{metric}{{{labels}}}");
    writer.traffic(&["direct", "/data/file", "8"]);
    let room: Vec<f64> =
        writer.traffic(&["room", "/data"]).split(' ').map(|bytes| bytes.parse().expect("a number")).collect();
    assert!(room[1] > WRITTEN, "the file takes its place");
    prometheus.promql().expect(&[
        (series("size_bytes"), room[0]),
        (series("used_bytes"), room[1]),
        (series("reserved_bytes"), room[2]),
        // The container's other mounts are the runtime's.
        (format!("count(container_resources_disk_size_bytes{{container_id=\"{}\"}})", writer.id()), 1.0),
    ]);
    // Whichever source counts, there must be one: `block/io`, or the files of the cgroup.
    let written = series("written_bytes_total");
    wait::until("the written bytes to show", || {
        let value = prometheus.promql().value(&written).map_err(|error| format!("{error:#}"))?;
        // The file system's own blocks come on top.
        wait::ensure((WRITTEN..WRITTEN + 1_048_576.0).contains(&value), || format!("{value} bytes"))
    });
}
