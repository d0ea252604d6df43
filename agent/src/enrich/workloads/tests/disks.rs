//! What containers use, and the disks they use it on.

use std::sync::{Arc, Condvar, Mutex};

use super::*;
use crate::aside::Aside;
use crate::model::{DeviceId, DiskIo};
use crate::resources::{DiskSource, Measure, Measured, Question, Space};

#[test]
fn resources_disks_and_published_ports_are_emitted() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    let file = |name: &str| format!("cgroup/docker/{ID}/{name}");
    machine.write(&file("cpu.stat"), "usage_usec 1500000\n");
    machine.write(&file("cpu.pressure"), "some total=2000000\nfull total=1000000\n");
    machine.write(&file("io.stat"), "8:0 rbytes=512 wbytes=0 rios=1 wios=0\n9:9 rios=1\n");
    machine.write("proc/diskstats", "8 0 sda 1\n8 1 sda1 1\n");
    machine.write("proc/7/mountinfo", "1 1 8:1 / /data rw - ext4 /dev/sda1 rw\n");
    machine.write("proc/1/net/fib_trie", "|-- 10.0.0.7\n/32 host LOCAL\n");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    let question = workloads.next_inspection().unwrap();
    let port = |address: &str| PublishedPort { address: address.parse().unwrap(), port: 80 };
    let metadata = ContainerMetadata { published: vec![port("0.0.0.0"), port("127.0.0.1")], ..named("web") };
    workloads.handle_inspected(question, Ok(metadata), at(10));
    let id = "container_id=/docker/web";
    let disk = format!("{id},device=sda,mount_point=/data");
    assert_eq!(
        series(&mut workloads, at(10)),
        [
            format!("container_info{{{id},image=img:1}} 1"),
            format!("container_net_tcp_listen_info{{{id},listen_addr=10.0.0.7:80,proxy=dockerd}} 1"),
            format!("container_net_tcp_listen_info{{{id},listen_addr=127.0.0.1:80,proxy=dockerd}} 1"),
            format!("container_resources_cpu_pressure_waiting_seconds_total{{{id},kind=some}} 2"),
            format!("container_resources_cpu_pressure_waiting_seconds_total{{{id},kind=full}} 1"),
            format!("container_resources_cpu_usage_seconds_total{{{id}}} 1.5"),
            format!("container_resources_disk_read_bytes_total{{{disk}}} 512"),
            format!("container_resources_disk_reads_total{{{disk}}} 1"),
            format!("container_resources_disk_writes_total{{{disk}}} 0"),
            format!("container_resources_disk_written_bytes_total{{{disk}}} 0"),
            format!("container_restarts_total{{{id}}} 0"),
        ]
    );
}

#[test]
fn measured_numbers_stay_the_source_when_files_begin_to_count() {
    struct Counted([DiskIo; 1]);
    impl Measure for Counted {
        fn measured(&self, _: WorkloadIx) -> Measured<'_> {
            Measured { disks: Some(&self.0), ..Measured::default() }
        }

        fn disk_source(&self) -> DiskSource {
            DiskSource::Files
        }
    }
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    machine.write("proc/diskstats", "8 0 sda 1\n");
    machine.write("proc/7/mountinfo", "1 1 8:0 / /data rw - ext4 /dev/sda rw\n");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    let measured = Counted([DiskIo { reads: Some(90), ..DiskIo::new(DeviceId { major: 8, minor: 0 }) }]);
    let mut reads = |now| {
        let lines = lines(&mut workloads, &measured, at(now)).into_iter();
        lines.filter(|line| line.contains("disk_reads_total")).collect::<Vec<_>>()
    };
    let expected = "container_resources_disk_reads_total\
                    {container_id=/docker/b06f44ca4949,device=sda,mount_point=/data} 90";
    assert_eq!(reads(13), [expected]);
    machine.write(&format!("cgroup/docker/{ID}/io.stat"), "8:0 rios=1\n");
    assert_eq!(reads(14), [expected], "a counter does not go back");
}

#[test]
fn mounts_outlive_the_process_that_showed_them() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    machine.write(&format!("cgroup/docker/{ID}/io.stat"), "8:0 rios=1\n");
    machine.write("proc/diskstats", "8 0 sda 1\n");
    machine.write("proc/7/mountinfo", "1 1 8:0 / /data rw - ext4 /dev/sda rw\n");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(100), 0);
    let disks = |workloads: &mut Workloads, now| {
        let lines = series(workloads, at(now));
        lines.into_iter().filter(|line| line.contains("disk_reads_total")).collect::<Vec<_>>()
    };
    let expected = "container_resources_disk_reads_total\
                    {container_id=/docker/b06f44ca4949,device=sda,mount_point=/data} 1";
    assert_eq!(disks(&mut workloads, 103), [expected]);
    workloads.observe_tasks(&[], at(104), 0);
    workloads.resolve(&origin(0, NO_CGROUP, cgroup), at(150));
    assert_eq!(disks(&mut workloads, 170), [expected]);
}

/// A container of which one process is there, whose root is a directory of the test's, on the test's own file system.
fn with_volume(machine: &Machine, mounts: &str) -> (CgroupId, String) {
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    let device = fs::metadata(machine.root.path()).unwrap().dev();
    let device = format!("{} {}", rustix::fs::major(device), rustix::fs::minor(device));
    machine.write("proc/diskstats", &format!("{device} sda 1\n"));
    machine.write("proc/7/root/data/file", "");
    machine.write("proc/7/mountinfo", &mounts.replace("DEVICE", &device.replace(' ', ":")));
    (cgroup, device)
}

/// Series of sizes, without their values, once they are there.
fn sizes(workloads: &mut Workloads, now: u64) -> Vec<String> {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let lines = series(workloads, at(now));
        let found: Vec<_> = lines.iter().filter(|line| line.contains("disk_size_bytes")).collect();
        let names = found.iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>();
        if !names.is_empty() || std::time::Instant::now() > deadline {
            return names;
        }
        std::thread::yield_now();
    }
}

#[test]
fn volumes_have_sizes_and_the_names_that_the_runtime_gave() {
    let machine = Machine::v2();
    let mounts =
        "1 1 DEVICE /v/x /data rw - ext4 /dev/sda rw\n2 1 DEVICE /r /data/ro ro - ext4 /dev/sda rw\n";
    let (cgroup, _) = with_volume(&machine, mounts);
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    let size = |id: &str, labels: &str| {
        format!("container_resources_disk_size_bytes{{container_id={id},{labels}mount_point=/data}}")
    };
    assert_eq!(sizes(&mut workloads, 20), [size("/docker/b06f44ca4949", "device=sda,")]);
    let question = workloads.next_inspection().unwrap();
    let mount = crate::enrich::metadata::Mount {
        destination: "/data".into(),
        source: "/v/x".into(),
        volume: Some("orders".into()),
    };
    let metadata = ContainerMetadata { mounts: vec![mount], ..named("web") };
    workloads.handle_inspected(question, Ok(metadata), at(20));
    let found = sizes(&mut workloads, 20);
    assert_eq!(found, [size("/docker/web", "device=sda,").replace('}', ",volume=orders}")]);
}

#[test]
fn volumes_beyond_the_bounds_are_counted() {
    let machine = Machine::v2();
    machine.write("proc/diskstats", "8 0 sda 1\n8 1 sda1 1\n");
    let mounts = |count: u32| -> String {
        (0..count).map(|number| format!("1 1 8:1 / /m{number} rw - ext4 /dev/sda1 rw\n")).collect()
    };
    let containers: Vec<_> = (1..=65)
        .map(|pid| {
            machine.write(&format!("proc/{pid}/mountinfo"), &mounts(if pid == 1 { 67 } else { 64 }));
            task(origin(pid, NO_CGROUP, machine.cgroup(&format!("docker/{pid:012x}{:052x}", 0))), 1, 0)
        })
        .collect();
    machine.write(
        "proc/1/mountinfo",
        &("1 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".to_owned() + &mounts(67)),
    );
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&containers, at(10), 0);
    assert_eq!(workloads.stats().containers, 65);
    series(&mut workloads, at(15));
    let refused = |workloads: &Workloads| {
        let refused = workloads.stats().volumes_refused;
        (refused.container, refused.node)
    };
    assert_eq!(refused(&workloads), (3, 0), "64 of one container, and nothing was asked yet");
    series(&mut workloads, at(16));
    assert_eq!(refused(&workloads), (3, 64), "4,096 of the node");
}

#[test]
fn of_a_container_with_endless_mounts_the_first_are_read() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    machine.write(&format!("cgroup/docker/{ID}/io.stat"), "8:0 rios=1\n");
    machine.write("proc/diskstats", "8 0 sda 1\n");
    let path = "x".repeat(4000);
    let endless = (0..300).map(|number| format!("1 1 0:5 / /{path}{number} rw - tmpfs tmpfs rw\n"));
    let mounts = ["1 1 8:0 / /data rw - ext4 /dev/sda rw\n".to_owned()].into_iter().chain(endless);
    machine.write("proc/7/mountinfo", &mounts.collect::<String>());
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    let lines = series(&mut workloads, at(15));
    assert!(lines.iter().any(|line| line.contains("disk_reads_total") && line.contains("mount_point=/data")));
    assert_eq!(workloads.stats().volumes_refused.container, 1);
}

#[test]
fn a_root_that_is_closed_is_a_reason_and_no_zero() {
    let machine = Machine::v2();
    let (cgroup, _) = with_volume(&machine, "1 1 DEVICE / /data rw - ext4 /dev/sda rw\n");
    fs::remove_dir_all(machine.root.path().join("proc/7/root")).unwrap();
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while workloads.space_refused.is_none() && std::time::Instant::now() < deadline {
        series(&mut workloads, at(20));
    }
    let mut absent = Absent::default();
    workloads.absent(&mut absent);
    let reason =
        absent.iter().find(|(metric, _)| *metric == "container_resources_disk_size_bytes").unwrap().1;
    assert!(reason.contains("No such file"), "{reason}");
    assert!(!series(&mut workloads, at(20)).iter().any(|line| line.contains("disk_size_bytes")));
}

#[test]
fn a_service_has_the_volumes_of_disks_that_it_writes_to() {
    let machine = Machine::v2();
    let (_, device) = with_volume(
        &machine,
        "1 1 DEVICE / /data rw - ext4 /dev/sda rw\n2 1 DEVICE / /data/deep rw - ext4 /dev/sda rw\n",
    );
    let cgroup = machine.cgroup("system.slice/db.service");
    let io = |text: &str| {
        let text = text.replace("DEVICE", &device.replace(' ', ":"));
        machine.write("cgroup/system.slice/db.service/io.stat", &text);
    };
    io("DEVICE rbytes=1 wbytes=0 rios=1 wios=0\n");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    series(&mut workloads, at(20));
    assert!(
        !series(&mut workloads, at(20)).iter().any(|line| line.contains("disk_size_bytes")),
        "it only reads"
    );
    io("DEVICE rbytes=1 wbytes=1 rios=1 wios=1\n");
    let id = "container_id=/system.slice/db.service,device=sda,mount_point=/data";
    assert_eq!(sizes(&mut workloads, 20), [format!("container_resources_disk_size_bytes{{{id}}}")]);
}

/// File systems that answer, but for those that hang.
#[derive(Default)]
struct Servers {
    gone: Mutex<Vec<&'static str>>,
    changed: Condvar,
}

impl Servers {
    fn ask(&self, mount_point: &str) -> Space {
        let gone = self.gone.lock().unwrap();
        drop(self.changed.wait_while(gone, |gone| gone.contains(&mount_point)).unwrap());
        Space { size_bytes: 3, used_bytes: 2, reserved_bytes: 1 }
    }

    fn lose(&self, gone: &[&'static str]) {
        *self.gone.lock().unwrap() = gone.to_vec();
        self.changed.notify_all();
    }
}

#[test]
fn a_volume_that_hangs_has_no_size_any_more_and_none_has_when_too_many_hang() {
    const VOLUMES: [&str; 5] = ["/m1", "/m2", "/m3", "/m4", "/m5"];
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    let partitions: String = (1..=5).map(|number| format!("8 {number} sda{number} 1\n")).collect();
    machine.write("proc/diskstats", &format!("8 0 sda 1\n{partitions}"));
    let mounts = (1..=5).map(|number| format!("1 1 8:{number} / /m{number} rw - ext4 /dev/sda{number} rw\n"));
    machine.write("proc/7/mountinfo", &mounts.collect::<String>());
    let servers = Arc::new(Servers::default());
    let mut workloads = machine.workloads();
    let asked = servers.clone();
    workloads.surveyor = Aside::new("test", move |question: &Question| Ok(asked.ask(&question.mount_point)));
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);

    let mut now = 20;
    let mut expect = |expected: &[&str]| {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            now += 1;
            let lines = series(&mut workloads, at(now));
            let of = |metric: &str| -> Vec<&str> {
                let is_shown = |volume: &str, line: &str| {
                    line.contains(metric) && line.contains(&format!("mount_point={volume}}}"))
                };
                VOLUMES.into_iter().filter(|volume| lines.iter().any(|line| is_shown(volume, line))).collect()
            };
            let shown = ["disk_size_bytes", "disk_used_bytes", "disk_reserved_bytes"].map(of);
            if shown.iter().all(|shown| shown == expected) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{shown:?} instead of {expected:?}");
            std::thread::yield_now();
        }
    };
    expect(&VOLUMES);
    servers.lose(&VOLUMES[..1]);
    expect(&VOLUMES[1..]);
    servers.lose(&VOLUMES[..4]);
    expect(&[]);
    servers.lose(&[]);
    expect(&VOLUMES);
}
