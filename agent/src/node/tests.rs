use std::fs;
use std::time::{Duration, Instant};

use super::*;
use crate::model::UnixMillis;
use crate::registry::{Labels, SnapshotBuilder, Value};
use proptest::prelude::*;

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
VmallocChunk:       0 kB\nCommitted_AS:       0 kB\nHugePages_Total:       3\nHugePages_Free:        1\n\
Hugepagesize:       2048 kB\n";

/// Real lines, shortened: of two CPUs the entries are told twice, the losses each for itself.
const CONNTRACK: &str = "\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error\n\
0000001f  00000000 00000000 00000000 00000005 00000000 00000000 00000000 00000000 00000001 00000002 00000010 00000000\n\
0000001f  00000000 00000000 00000000 00000005 00000000 00000000 00000000 00000000 00000001 00000003 00000010 00000000\n";

const SNMP: &str = "\
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
Tcp: 1 200 120000 -1 11 12 13 14 15 16 17 18 19 20 21\n\
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n\
Udp: 31 32 33 34 35 36 37 38 39\n\
UdpLite: InDatagrams NoPorts InErrors OutDatagrams\nUdpLite: 0 0 0 0\n";

const DEV: &str = "\
Inter-|   Receive                                                |  Transmit\n \
face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0\n  \
eth0: 100 2 5 6 0 0 0 0 300 4 7 8 0 0 0 0\n";

const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
vpn0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";

const FILES: [(&str, &str); 24] = [
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
    ("1/root/sys/class/net/eth0/speed", "10000\n"),
    ("loadavg", "0.25 1.50 2.75 3/456 7890\n"),
    ("vmstat", "nr_free_pages 1\npswpin 2\npswpout 3\npgmajfault 4\noom_kill 5\n"),
    ("sys/fs/file-nr", "1024\t0\t9223372036854775807\n"),
    (
        "pressure/cpu",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ),
    (
        "pressure/memory",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
    ),
    (
        "pressure/io",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=3500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n",
    ),
    (
        "1/net/sockstat",
        "sockets: used 9\nTCP: inuse 2 orphan 3 tw 4 alloc 5 mem 6\nUDP: inuse 7 mem 8\nUDPLITE: inuse 0\n",
    ),
    ("1/net/sockstat6", "TCP6: inuse 9\nUDP6: inuse 10\n"),
    ("1/net/snmp", SNMP),
    (
        "1/net/snmp6",
        "Udp6InDatagrams                 \t41\nUdp6NoPorts  42\nUdp6InErrors 43\nUdp6OutDatagrams 44\nUdp6RcvbufErrors 45\nUdp6SndbufErrors 46\n",
    ),
    (
        "1/net/netstat",
        "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed ListenOverflows ListenDrops TCPTimeouts TCPAbortOnMemory\nTcpExt: 1 2 3 4 5 6 7\n",
    ),
    ("1/net/stat/nf_conntrack", CONNTRACK),
    ("sys/net/netfilter/nf_conntrack_max", "262144\n"),
];

#[test]
fn every_file_becomes_its_series() {
    let host = Host::new(&FILES);
    let mut reader = NodeReader::new(host.0.path(), Cloud::none(), Gpus::none());
    let mut read = reader.read(BootNanos(1));
    assert_eq!(reader.failures(), 0);
    // A thread asks for speeds, so they may come later.
    let deadline = Instant::now() + Duration::from_secs(20);
    while read.interfaces.iter().flatten().all(|interface| interface.speed_bytes.is_none()) {
        assert!(Instant::now() < deadline, "no speed came");
        read = reader.read(BootNanos(1));
    }
    assert_eq!(
        reader.absent.iter().map(|(metric, _)| metric.name).collect::<Vec<_>>(),
        ["node_resources_irq_pressure_waiting_seconds_total", "node_resources_filesystem_size_bytes"]
    );
    read.filesystems = vec![filesystem(Some(USAGE)), filesystem(None)];
    let identity = NodeIdentity {
        machine_id: "m".into(),
        system_uuid: "u".into(),
        hostname: "host".into(),
        kernel: "6.18".into(),
    };
    let lines = lines(&identity, &read);
    // Golden: one line per series, in the order of names. Pages are counted in this machine's size.
    let page = rustix::param::page_size() as f64;
    let golden = include_str!("series.txt").lines().map(|line| match line.strip_suffix(" pages") {
        Some(line) => {
            let (series, pages) = line.rsplit_once(' ').unwrap();
            format!("{series} {}", pages.parse::<f64>().unwrap() * page)
        }
        None => line.to_owned(),
    });
    assert_eq!(lines, golden.collect::<Vec<_>>());
}

const USAGE: Usage = Usage { size: 1000, free: 500, available: 400, inodes: 100, inodes_free: 90 };

fn filesystem(usage: Option<Usage>) -> Filesystem {
    let mount_point = if usage.is_some() { "/" } else { "/share" };
    Filesystem {
        mount_point: mount_point.into(),
        device: "/dev/vda".into(),
        fstype: "ext4".into(),
        read_only: usage.is_none(),
        usage,
    }
}

/// Every series of the machine as `name{labels} value`, without the prefix.
fn lines(identity: &NodeIdentity, read: &Node) -> Vec<String> {
    let mut builder = SnapshotBuilder::default();
    emit(&mut builder, identity, read);
    let snapshot = builder.build(UnixMillis(0), Labels::empty());
    let mut lines = Vec::new();
    for family in snapshot.families.iter().filter(|family| family.metric.name.starts_with("node_")) {
        for sample in &family.samples {
            let own: Vec<_> = sample.own.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let Value::Number(value) = sample.value else { panic!("no histograms here") };
            let name = family.metric.name.trim_start_matches("node_");
            lines.push(format!("{name}{{{}}} {value}", own.join(",")));
        }
    }
    lines
}

fn value(read: &Node, name: &str) -> f64 {
    let number = read.numbers.iter().find(|number| number.metric.name == name);
    number.unwrap_or_else(|| panic!("{name} was not read")).value
}

#[test]
fn tracked_connections_are_counted_without_their_statistics() {
    let host = Host::new(&[("sys/net/netfilter/nf_conntrack_count", "321\n")]);
    for process in ["self", "1"] {
        let directory = host.0.path().join(process).join("ns");
        std::fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink("net:[4026531840]", directory.join("net")).unwrap();
    }
    let mut reader = NodeReader::new(host.0.path(), Cloud::none(), Gpus::none());
    let read = reader.read(BootNanos(1));
    assert_eq!(value(&read, "node_nf_conntrack_entries"), 321.0);
    let is_absent = |reader: &NodeReader, name| reader.absent.iter().any(|(metric, _)| metric.name == name);
    assert!(is_absent(&reader, "node_nf_conntrack_drops_total"));
    assert!(!is_absent(&reader, "node_nf_conntrack_entries"));
    // Another namespace's number is not the host's.
    std::fs::remove_file(host.0.path().join("self/ns/net")).unwrap();
    std::os::unix::fs::symlink("net:[4026532001]", host.0.path().join("self/ns/net")).unwrap();
    reader.read(BootNanos(2));
    assert!(is_absent(&reader, "node_nf_conntrack_entries"));
}

#[test]
fn times_that_the_kernel_takes_back_are_not_shown_so() {
    let host = Host::new(&[]);
    let mut reader = NodeReader::new(host.0.path(), Cloud::none(), Gpus::none());
    let ticks = rustix::param::clock_ticks_per_second();
    let mut shown = |idle: u64| {
        let stat = format!(
            "cpu 1 2 3 {} 5\ncpu0 1 2 3 {} 5\nctxt 1\nbtime 1\nprocesses 1\n",
            idle * ticks,
            idle * ticks
        );
        std::fs::write(host.0.path().join("stat"), stat).unwrap();
        let read = reader.read(BootNanos(1));
        let idle = read.numbers.iter().find(|number| number.own.get("mode") == Some("idle"));
        idle.expect("idle time").value
    };
    assert_eq!([10, 11, 9, 10, 12].map(&mut shown), [10.0, 11.0, 11.0, 11.0, 12.0]);
    assert_eq!(shown(2), 2.0, "a CPU has gone");
}

#[test]
fn what_cannot_be_read_is_absent_and_counted() {
    let host = Host::new(&[("uptime", "garbage"), ("stat", "cpu\n"), ("pressure/io", "some total=x\n")]);
    let mut reader = NodeReader::new(host.0.path(), Cloud::none(), Gpus::none());
    let read = reader.read(BootNanos(1));
    assert!(read.numbers.is_empty() && read.disks.is_none() && read.interfaces.is_none());
    // Nine files that every machine has, one that is garbage; disks and interfaces.
    assert_eq!(reader.failures(), 12);
    let reason = |name: &str| {
        let found = reader.absent.iter().find(|(metric, _)| metric.name == name);
        found.map(|(_, reason)| reason.as_str()).unwrap_or_default()
    };
    assert_eq!(
        reason("node_resources_io_pressure_waiting_seconds_total"),
        "pressure/io: its text is not understood"
    );
    assert_eq!(
        reason("node_nf_conntrack_entries"),
        "1/net/stat/nf_conntrack: connection tracking is not loaded, or built without CONFIG_NF_CONNTRACK_PROCFS"
    );
    assert!(reason("node_load1").starts_with("loadavg: No such file"));
}

proptest! {
    #[test]
    fn garbage_never_panics(garbage in "(?s).{0,300}", cut in 0_usize..2000, index in 0..FILES.len()) {
        let original = FILES[index].1;
        let at = (0..=cut.min(original.len())).rev().find(|at| original.is_char_boundary(*at)).unwrap();
        for text in [garbage.as_str(), &original[..at], &original[at..]] {
            sources::parse_with_all(text);
        }
    }
}

#[test]
fn a_machine_without_disks_and_cards_is_read_completely() {
    let header = DEV.lines().take(2).collect::<Vec<_>>().join("\n");
    let without = [("diskstats", ""), ("1/net/dev", header.as_str())];
    let files = FILES.iter().map(|file| *without.iter().find(|other| other.0 == file.0).unwrap_or(file));
    let host = Host::new(&files.collect::<Vec<_>>());
    let mut reader = NodeReader::new(host.0.path(), Cloud::none(), Gpus::none());
    let read = reader.read(BootNanos(1));
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
    let mut reader = NodeReader::new("/proc", Cloud::none(), Gpus::none());
    let (first, second) = (reader.read(BootNanos(1)), reader.read(BootNanos(2)));
    let bytes = |name: &str| value(&first, &format!("node_resources_memory_{name}_bytes"));
    assert!(bytes("free") <= bytes("total") && bytes("available") <= bytes("total"));
    assert!(value(&first, "node_uptime_seconds") <= value(&second, "node_uptime_seconds"));
    assert!(value(&first, "node_resources_cpu_logical_cores") > 0.0);
    assert_eq!(reader.failures(), 0, "{:?}", reader.absent);
    let root = first.filesystems.iter().find(|filesystem| &*filesystem.mount_point == "/");
    let usage = root.and_then(|root| root.usage).expect("the root file system answers at once");
    assert!(usage.available <= usage.free && usage.free <= usage.size && usage.size > 0, "{usage:?}");
}
