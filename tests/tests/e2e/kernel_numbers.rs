//! Every number of the node that is the kernel's own, against the kernel's file read before and after.

use std::fs;
use std::path::Path;

use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::node::fresh;

/// A series without labels, and what the kernel says of it.
type Row = (&'static str, f64);

/// A file of `/proc`.
fn read(file: &str) -> String {
    fs::read_to_string(Path::new("/proc").join(file)).unwrap_or_else(|error| panic!("read {file}: {error}"))
}

fn number(word: &str) -> f64 {
    word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"))
}

/// The word after `key` in a line that begins with `start`.
fn word(text: &str, start: &str, key: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(start)).expect(start);
    let mut words = line.split_whitespace().skip_while(|word| *word != key);
    words.next().unwrap_or_else(|| panic!("{start} has no {key}"));
    number(words.next().expect("a value follows"))
}

/// A value of a table with a line of names above one of numbers.
pub fn column(text: &str, table: &str, name: &str) -> f64 {
    let mut lines = text.lines().filter(|line| line.split(':').next() == Some(table));
    let names = lines.next().expect(table);
    let position = names.split_whitespace().position(|known| known == name).expect(name);
    number(lines.next().expect("numbers follow").split_whitespace().nth(position).expect("as many numbers"))
}

/// Numbers that only grow.
fn counters() -> Vec<Row> {
    let (snmp, netstat) = (read("net/snmp"), read("net/netstat"));
    let tcp = |name| column(&snmp, "Tcp", name);
    let extended = |name| column(&netstat, "TcpExt", name);
    vec![
        ("node_net_tcp_segments_received_total", tcp("InSegs")),
        ("node_net_tcp_segments_sent_total", tcp("OutSegs")),
        ("node_net_tcp_segments_bad_total", tcp("InErrs")),
        ("node_net_tcp_established_resets_total", tcp("EstabResets")),
        ("node_net_tcp_syn_cookies_sent_total", extended("SyncookiesSent")),
        ("node_net_tcp_syn_cookies_failed_total", extended("SyncookiesFailed")),
        ("node_net_tcp_timeouts_total", extended("TCPTimeouts")),
        ("node_net_tcp_memory_aborts_total", extended("TCPAbortOnMemory")),
    ]
}

/// Numbers that rise and fall while others use the machine.
fn gauges() -> Vec<Row> {
    let (memory, stat, sockets) = (read("meminfo"), read("stat"), read("net/sockstat"));
    let kibibytes = |name: &str| word(&memory, name, name) * 1024.0;
    let huge = kibibytes("Hugepagesize:");
    let plain = |name: &str| word(&memory, name, name);
    let page = rustix::param::page_size() as f64;
    vec![
        ("node_resources_memory_free_bytes", kibibytes("MemFree:")),
        ("node_resources_memory_cached_bytes", kibibytes("Cached:")),
        ("node_resources_memory_buffers_bytes", kibibytes("Buffers:")),
        ("node_resources_memory_shared_bytes", kibibytes("Shmem:")),
        ("node_resources_memory_dirty_bytes", kibibytes("Dirty:")),
        ("node_resources_memory_writeback_bytes", kibibytes("Writeback:")),
        ("node_resources_memory_slab_bytes", kibibytes("Slab:")),
        ("node_resources_memory_slab_reclaimable_bytes", kibibytes("SReclaimable:")),
        ("node_resources_memory_committed_bytes", kibibytes("Committed_AS:")),
        ("node_resources_memory_hugepages_total_bytes", plain("HugePages_Total:") * huge),
        ("node_resources_memory_hugepages_free_bytes", plain("HugePages_Free:") * huge),
        ("node_procs_running", word(&stat, "procs_running", "procs_running")),
        ("node_procs_blocked", word(&stat, "procs_blocked", "procs_blocked")),
        (
            "node_filefd_allocated",
            number(read("sys/fs/file-nr").split_whitespace().next().expect("a number")),
        ),
        ("node_net_tcp_orphaned_sockets", word(&sockets, "TCP:", "orphan")),
        ("node_net_tcp_allocated_sockets", word(&sockets, "TCP:", "alloc")),
        ("node_net_socket_memory_bytes", word(&sockets, "TCP:", "mem") * page),
    ]
}

/// What the scrape itself adds: its connection has both ends here, each a socket and a file. The agent may have some of
/// its own files open while it reads that of the number.
fn own(name: &str) -> f64 {
    match name {
        "node_net_tcp_allocated_sockets" => 2.0,
        "node_filefd_allocated" => 8.0,
        _ => 0.0,
    }
}

/// Of which protocol, where a gauge has more than one series.
fn labels(name: &str) -> &'static [(&'static str, &'static str)] {
    if name == "node_net_socket_memory_bytes" { &[("protocol", "tcp")] } else { &[] }
}

#[test]
fn counters_of_tcp_are_the_kernels() {
    require!(Need::Root);
    let agent = Sonde::agent().start();
    let before = counters();
    let metrics = fresh(&agent);
    for ((name, low), (_, high)) in before.into_iter().zip(counters()) {
        let seen = metrics.value(name, &[]).expect(name);
        assert!((low..=high).contains(&seen), "{name} is {seen}, the kernel said {low}, then {high}");
    }
}

#[test]
fn gauges_of_memory_and_sockets_are_the_kernels() {
    require!(Need::Root, Need::File("/dev/shm"));
    const SHARED: usize = 24 << 20;
    let agent = Sonde::agent().start();
    let shared = fresh(&agent).value("node_resources_memory_shared_bytes", &[]).expect("shared memory");
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("create a file in memory");
    std::io::Write::write_all(&mut file, &vec![1; SHARED]).expect("write the file");
    // What moves between the readings is looked at again.
    let mut open: Vec<&str> = gauges().into_iter().map(|(name, _)| name).collect();
    wait::until("every gauge to lie between two readings of the kernel's", || {
        let before = gauges();
        let metrics = fresh(&agent);
        let mut missed = Vec::new();
        for ((name, one), (_, other)) in before.into_iter().zip(gauges()) {
            let seen = metrics.value(name, labels(name)).expect(name);
            if (one.min(other)..=one.max(other) + own(name)).contains(&seen) {
                open.retain(|open| *open != name);
            } else if open.contains(&name) {
                missed.push(format!("{name} is {seen}, the kernel said {one}, then {other}"));
            }
        }
        wait::ensure(open.is_empty(), || missed.join("; "))
    });
    let now = fresh(&agent).value("node_resources_memory_shared_bytes", &[]).expect("shared memory");
    // Other tests hold little there.
    let grown = now - shared;
    assert!((0.8..1.2).contains(&(grown / SHARED as f64)), "{grown} bytes more are shared");
}

/// Rows of a table of devices that the agent shows, by metric: before and after a snapshot. A metric has its column, and
/// how many of that make one of its unit.
fn compare(
    label: &str,
    metrics: &[(&str, usize, f64)],
    table: impl Fn() -> Vec<(String, Vec<f64>)>,
    agent: &Sonde,
) {
    let before = table();
    let snapshot = fresh(agent);
    let after = table();
    for (name, column, per_unit) in metrics {
        let shown = snapshot.select(name, &[]);
        assert!(!shown.is_empty(), "{name} has no series");
        for sample in shown {
            let device = &sample.labels[label];
            let find = |rows: &[(String, Vec<f64>)]| {
                rows.iter().find(|(known, _)| known == device).map(|(_, values)| values[*column] / per_unit)
            };
            // One of another test may come and go in between.
            if let (Some(low), Some(high)) = (find(&before), find(&after)) {
                let seen = sample.value;
                assert!(
                    (low..=high).contains(&seen),
                    "{name} of {device} is {seen}, the kernel said {low}, then {high}"
                );
            }
        }
    }
}

/// Devices and their numbers: what stands before the values is the name.
fn disks() -> Vec<(String, Vec<f64>)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[2].to_owned(), words[3..].iter().map(|word| number(word)).collect())
    };
    read("diskstats").lines().map(row).collect()
}

fn interfaces() -> Vec<(String, Vec<f64>)> {
    let row = |line: &str| {
        let (name, values) = line.split_once(':')?;
        Some((name.trim().to_owned(), values.split_whitespace().map(number).collect()))
    };
    read("net/dev").lines().filter_map(row).collect()
}

#[test]
fn disks_and_interfaces_are_the_kernels() {
    require!(Need::Root, Need::Tool("prometheus"));
    let agent = Sonde::agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    // How many make a byte or a second: a quotient is what is nearest to the true one, a product of 1e-3 is not.
    let (sector, millisecond) = (1.0 / 512.0, 1e3);
    let of_disks = [
        ("node_resources_disk_reads_total", 0, 1.0),
        ("node_resources_disk_read_bytes_total", 2, sector),
        ("node_resources_disk_read_time_seconds_total", 3, millisecond),
        ("node_resources_disk_writes_total", 4, 1.0),
        ("node_resources_disk_written_bytes_total", 6, sector),
        ("node_resources_disk_write_time_seconds_total", 7, millisecond),
        ("node_resources_disk_io_time_seconds_total", 9, millisecond),
    ];
    compare("device", &of_disks, disks, &agent);
    let of_interfaces = [
        ("node_net_received_bytes_total", 0, 1.0),
        ("node_net_received_packets_total", 1, 1.0),
        ("node_net_transmitted_bytes_total", 8, 1.0),
        ("node_net_transmitted_packets_total", 9, 1.0),
    ];
    compare("interface", &of_interfaces, interfaces, &agent);
    let shown = fresh(&agent).select("node_resources_disk_io_time_seconds_total", &[]).len();
    prometheus
        .promql()
        .expect(&[("count(node_resources_disk_io_time_seconds_total)".to_owned(), shown as f64)]);
}

#[test]
fn pressure_of_interrupts_is_the_kernels_or_absent() {
    require!(Need::Root);
    const NAME: &str = "node_resources_irq_pressure_waiting_seconds_total";
    let agent = Sonde::agent().start();
    let kernel = || {
        let text = fs::read_to_string("/proc/pressure/irq").ok()?;
        Some(number(text.lines().next()?.rsplit_once("total=")?.1) / 1e6)
    };
    let Some(low) = kernel() else {
        // Kernels before 6.1, and those built without the accounting of interrupts.
        assert!(fresh(&agent).select(NAME, &[]).is_empty(), "{NAME} is shown");
        return;
    };
    let seen = fresh(&agent).value(NAME, &[("kind", "full")]).expect(NAME);
    let high = kernel().expect("the file stays");
    assert!((low..=high).contains(&seen), "{NAME} is {seen}, the kernel said {low}, then {high}");
}
