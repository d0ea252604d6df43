use std::fs;

use super::*;
use crate::model::UnixMillis;
use crate::registry::{Labels, SnapshotBuilder, Value};

struct Host(tempfile::TempDir);

impl Host {
    fn new(files: &[(&str, &str)]) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = host.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        host
    }

    fn identity(files: &[(&str, &str)]) -> NodeIdentity {
        NodeIdentity::read(Self::new(files).0.path())
    }
}

/// The fields of `/proc/meminfo` without which the crate refuses it.
const MEMINFO: &str = "\
MemTotal:        2048 kB\nMemFree:         1024 kB\nMemAvailable:    1536 kB\nBuffers:            1 kB\n\
Cached:           512 kB\nSwapCached:         0 kB\nActive:             0 kB\nInactive:           0 kB\n\
SwapTotal:          0 kB\nSwapFree:           0 kB\nDirty:              0 kB\nWriteback:          0 kB\n\
Mapped:             0 kB\nSlab:               0 kB\nVmallocTotal:       0 kB\nVmallocUsed:        0 kB\n\
VmallocChunk:       0 kB\nCommitted_AS:       0 kB\n";

const DEV: &str = "\
Inter-|   Receive                                                |  Transmit\n \
face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0\n  \
eth0: 100 2 0 0 0 0 0 0 300 4 0 0 0 0 0 0\n";

const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
vpn0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";

const FILES: [(&str, &str); 10] = [
    ("uptime", "12.50 20.00\n"),
    (
        "stat",
        "cpu  100 200 300 400 500 600 700 800 0 0\ncpu0 50 100 150 200 250 300 350 400 0 0\n\
         cpu1 50 100 150 200 250 300 350 400 0 0\nctxt 1\nbtime 2\nprocesses 3\nprocs_running 1\nprocs_blocked 0\n",
    ),
    ("meminfo", MEMINFO),
    (
        "diskstats",
        "   8       0 sda 10 1 20 3000 40 5 60 7000 0 9000 10000 0 0 0 0 0 0\n   8       1 sda1 10 1 20 3000 40 5 60 7000 0 9000 10000\n",
    ),
    ("1/net/dev", DEV),
    ("1/net/route", ROUTE),
    ("1/net/fib_trie", "|-- 10.0.0.7\n/32 host LOCAL\n|-- 127.0.0.1\n/32 host LOCAL\n"),
    (
        "1/net/if_inet6",
        "fe800000000000000000000000000001 02 40 20 80 eth0\nfd000000000000000000000000000002 02 40 00 80 eth0\n",
    ),
    ("1/root/sys/class/net/eth0/operstate", "unknown\n"),
    ("1/root/sys/class/net/eth0/flags", "0x1003\n"),
];

#[test]
fn every_file_becomes_its_series() {
    let host = Host::new(&FILES);
    let mut reader = NodeReader::new(host.0.path());
    let read = reader.read();
    assert_eq!(reader.failures(), 0);
    let identity = NodeIdentity {
        machine_id: "m".into(),
        system_uuid: "u".into(),
        hostname: "host".into(),
        kernel: "6.18".into(),
    };
    let mut builder = SnapshotBuilder::default();
    emit(&mut builder, &identity, &read);
    let snapshot = builder.build(UnixMillis(0), Labels::empty());
    let mut lines = Vec::new();
    for family in snapshot.families.iter().filter(|family| family.metric.name.starts_with("node_")) {
        for sample in &family.samples {
            let own: Vec<_> = sample.own.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let Value::Number(value) = sample.value else { panic!("no histograms here") };
            lines.push(format!(
                "{}{{{}}} {value}",
                family.metric.name.trim_start_matches("node_"),
                own.join(",")
            ));
        }
    }
    assert_eq!(
        lines,
        [
            "info{hostname=host,kernel_version=6.18} 1",
            "net_interface_ip{interface=eth0,ip=10.0.0.7} 1",
            "net_interface_ip{interface=eth0,ip=fd00::2} 1",
            "net_interface_up{interface=eth0} 1",
            "net_received_bytes_total{interface=eth0} 100",
            "net_received_packets_total{interface=eth0} 2",
            "net_transmitted_bytes_total{interface=eth0} 300",
            "net_transmitted_packets_total{interface=eth0} 4",
            "resources_cpu_logical_cores{} 2",
            "resources_cpu_usage_seconds_total{mode=user} 1",
            "resources_cpu_usage_seconds_total{mode=nice} 2",
            "resources_cpu_usage_seconds_total{mode=system} 3",
            "resources_cpu_usage_seconds_total{mode=idle} 4",
            "resources_cpu_usage_seconds_total{mode=iowait} 5",
            "resources_cpu_usage_seconds_total{mode=irq} 6",
            "resources_cpu_usage_seconds_total{mode=softirq} 7",
            "resources_cpu_usage_seconds_total{mode=steal} 8",
            "resources_disk_io_time_seconds_total{device=sda} 9",
            "resources_disk_read_bytes_total{device=sda} 10240",
            "resources_disk_read_time_seconds_total{device=sda} 3",
            "resources_disk_reads_total{device=sda} 10",
            "resources_disk_write_time_seconds_total{device=sda} 7",
            "resources_disk_writes_total{device=sda} 40",
            "resources_disk_written_bytes_total{device=sda} 30720",
            "resources_memory_available_bytes{} 1572864",
            "resources_memory_cached_bytes{} 524288",
            "resources_memory_free_bytes{} 1048576",
            "resources_memory_total_bytes{} 2097152",
            "uptime_seconds{} 12.5",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_absent_and_counted() {
    let host = Host::new(&[("uptime", "garbage"), ("stat", "cpu\n")]);
    let mut reader = NodeReader::new(host.0.path());
    assert_eq!(reader.read(), Node::default());
    assert_eq!(reader.failures(), 5);
}

#[test]
fn a_machine_without_disks_and_cards_is_read_completely() {
    let header = DEV.lines().take(2).collect::<Vec<_>>().join("\n");
    let without = [("diskstats", ""), ("1/net/dev", header.as_str())];
    let files = FILES.iter().map(|file| *without.iter().find(|other| other.0 == file.0).unwrap_or(file));
    let host = Host::new(&files.collect::<Vec<_>>());
    let mut reader = NodeReader::new(host.0.path());
    let read = reader.read();
    assert_eq!((read.disks, read.interfaces), (Some(Vec::new()), Some(Vec::new())));
    assert_eq!(reader.failures(), 0);
}

#[test]
fn the_identity_falls_back_step_by_step() {
    const HOSTNAME: (&str, &str) = ("sys/kernel/hostname", "web-1\n");
    const UUID: (&str, &str) = ("1/root/sys/class/dmi/id/product_uuid", "4C4C4544-0042\n");
    let names = |files: &[(&str, &str)]| {
        let identity = Host::identity(files);
        (identity.machine_id, identity.system_uuid)
    };
    let both = |machine_id: &str, uuid: &str| (machine_id.to_owned(), uuid.to_owned());
    let machine_id = ("1/root/etc/machine-id", "abc\n");
    assert_eq!(names(&[HOSTNAME, UUID, machine_id]), both("abc", "4c4c4544-0042"));
    let dbus = ("1/root/var/lib/dbus/machine-id", "def\n");
    assert_eq!(names(&[HOSTNAME, UUID, ("1/root/etc/machine-id", "uninitialized\n"), dbus]).0, "def");
    assert_eq!(names(&[HOSTNAME, UUID, ("1/root/etc/machine-id", "\n"), dbus]).0, "def");
    assert_eq!(names(&[HOSTNAME, UUID]), both("4c4c45440042", "4c4c4544-0042"));
}

#[test]
fn the_live_machine_adds_up() {
    let identity = NodeIdentity::read(Path::new("/proc"));
    for name in [&identity.machine_id, &identity.system_uuid, &identity.hostname, &identity.kernel] {
        assert!(!name.is_empty(), "{identity:?}");
    }
    let mut reader = NodeReader::new("/proc");
    let (first, second) = (reader.read(), reader.read());
    let memory = first.memory.expect("memory");
    assert!(memory.free <= memory.total && memory.available.is_some_and(|bytes| bytes <= memory.total));
    assert!(first.uptime_seconds.expect("uptime") <= second.uptime_seconds.expect("uptime"));
    let cpu = first.cpu.expect("cpu");
    assert!(cpu.logical_cores > 0 && cpu.seconds.iter().map(|(_, seconds)| seconds).sum::<f64>() > 0.0);
}
