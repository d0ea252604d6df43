//! Bad input on the real binaries: each gives one clear message or one counted refusal, and the rest goes on.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use sonde_tests::docker::{NoDocker, SOCKET};
use sonde_tests::process::{Process, free_address, product, run};
use sonde_tests::product::Sonde;
use sonde_tests::remote_write::{HEADERS, body, push, series};
use sonde_tests::skip::Need;
use sonde_tests::{http, require, skip, wait};

use crate::support::{serve, traffic};

/// Probes: what stops all of them is said once for each, with what is missing without it.
const PROBES: usize = 16;
/// A problem that lasts may be said again, at a rate that is no flood.
const REMINDERS: usize = 3;

/// Warnings and errors in a log that mention `subject`.
fn complaints(log: &str, subject: &str) -> Vec<String> {
    let loud = |line: &&str| {
        let last_words = line.starts_with("error: ") || line.starts_with("sonde-");
        line.contains("WARN") || line.contains("ERROR") || last_words
    };
    log.lines().filter(loud).filter(|line| line.contains(subject)).map(str::to_owned).collect()
}

#[track_caller]
fn assert_said(log: &str, subject: &str, times: std::ops::RangeInclusive<usize>) {
    let found = complaints(log, subject);
    assert!(
        times.contains(&found.len()),
        "{subject}: {} messages, allowed {times:?}, in\n{log}",
        found.len()
    );
}

/// The node is still observed.
#[track_caller]
fn assert_node_is_shown(agent: &Sonde) {
    let metrics = agent.metrics().expect("scrape");
    assert!(metrics.value("node_uptime_seconds", &[]).expect("the uptime") > 0.0);
    assert!(metrics.value("node_resources_memory_total_bytes", &[]).expect("the memory") > 0.0);
}

/// The verdict on a probe.
fn verdict(agent: &Sonde, probe: &str) -> String {
    let metrics = agent.metrics().expect("scrape");
    let states = metrics.select("sonde_agent_probe_state", &[("probe", probe)]);
    let now = states.iter().find(|state| state.value > 0.0).expect("each probe has a verdict");
    now.labels["verdict"].clone()
}

/// TCP of a host process is measured.
#[track_caller]
fn assert_tcp_is_counted(agent: &Sonde) {
    let directory = tempfile::tempdir().expect("create a directory");
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    let _client = Process::start_with_input("client", traffic(&["hold", &address, "2"]), directory.path());
    let labels = [("container_id", "/host/traffic"), ("destination", address.as_str())];
    agent.expect(&[("container_net_tcp_successful_connects_total", &labels, 2.0)]);
}

#[test]
fn unreadable_btf_costs_the_probes_and_nothing_else() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let garbage = directory.path().join("garbage.btf");
    fs::write(&garbage, b"this is not type information").expect("write garbage");
    for file in [garbage, directory.path().join("missing.btf")] {
        let agent = Sonde::agent().with("--btf", &file).start();
        assert_node_is_shown(&agent);
        let sockets = verdict(&agent, "tcp/sockets");
        assert!(["unsupported", "broken"].contains(&sockets.as_str()), "{sockets}");
        // Connects need no types where the plain tracepoint tells enough.
        if verdict(&agent, "tcp/lifecycle") == "ok" {
            assert_tcp_is_counted(&agent);
        }
        let metrics = agent.metrics().expect("scrape");
        for name in ["bytes_sent_total", "bytes_received_total", "retransmits_total"] {
            let shown = metrics.select(&format!("container_net_tcp_{name}"), &[]);
            assert!(shown.is_empty(), "what is not measured is not shown: {shown:?}");
        }
        assert_said(&agent.log(), &file.display().to_string(), 1..=PROBES);
    }
}

#[test]
fn a_missing_capability_is_named() {
    require!(Need::Root, Need::Tool("setpriv"));
    // CAP_SYS_ADMIN includes CAP_BPF.
    let agent = Sonde::agent().behind(&["setpriv", "--bounding-set", "-bpf,-sys_admin", "--"]).start();
    assert_node_is_shown(&agent);
    for probe in ["tcp/lifecycle", "tcp/sockets"] {
        assert_eq!(verdict(&agent, probe), "broken");
    }
    assert_said(&agent.log(), "CAP_BPF", 1..=PROBES);
    let mut doctor = Command::new("setpriv");
    doctor.args(["--bounding-set", "-bpf,-sys_admin", "--"]).arg(product("sonde-agent")).arg("doctor");
    let output = doctor.output().expect("start the doctor");
    assert!(String::from_utf8_lossy(&output.stdout).contains("CAP_BPF"), "{output:?}");
}

#[test]
fn without_cgroup_mounts_the_rest_is_measured() {
    require!(Need::Root, Need::Tool("unshare"));
    // The host's mounts are read from process 1, so they are hidden there, in a mount namespace of the agent's.
    for hidden in [" - cgroup2 ", " - cgroup"] {
        let script = format!(
            "file=$(mktemp) && grep -v -e '{hidden}' /proc/1/mountinfo > $file; \
             for process in 1 $$; do mount --bind $file /proc/$process/mountinfo || exit 9; done; \
             rm $file; exec \"$0\" \"$@\""
        );
        let agent = Sonde::agent().behind(&["unshare", "--mount", "--", "sh", "-c", &script]).start();
        assert_node_is_shown(&agent);
        assert_tcp_is_counted(&agent);
        assert_said(&agent.log(), "hierarchy was found", 1..=1);
    }
}

/// A file at docker's socket; removed when dropped.
struct SocketFile(Option<UnixListener>);

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.0.take();
        let _ = fs::remove_file(SOCKET);
    }
}

#[test]
fn a_dead_or_silent_docker_socket_stops_nothing() {
    require!(Need::Root);
    let _alone = match NoDocker::claim() {
        Ok(alone) => alone,
        Err(reason) => return skip::record(&reason),
    };
    for answers_nothing in [false, true] {
        let listener = UnixListener::bind(SOCKET).expect("bind docker's socket");
        let _file = SocketFile(answers_nothing.then_some(listener));
        let agent = Sonde::agent().start();
        assert_node_is_shown(&agent);
        assert_tcp_is_counted(&agent);
        let shown = || agent.status().to_string();
        wait::until("the status to name docker", || wait::ensure(shown().contains("docker"), shown));
        assert_said(&agent.log(), "docker", 0..=REMINDERS);
    }
}

/// A file system of its own; unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(options: &str) -> Self {
        let directory = tempfile::tempdir().expect("create a mount point");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(directory.path()));
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A series of its own for each number, with a label long enough to fill a disk.
fn bulky(number: usize) -> Vec<sonde_tests::remote_write::TimeSeries> {
    let noise: String =
        (0..4000).map(|index| char::from(b'a' + ((index * 7 + number) * 31 % 26) as u8)).collect();
    vec![series(&[("__name__", "bulky"), ("number", &number.to_string()), ("noise", &noise)], &[(1, 1.0)])]
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    require!(Need::Root);
    let disk = Tmpfs::mount("size=24m");
    let collector = Sonde::collector()
        .with("--data-dir", disk.path().join("data"))
        .with("--remote-write", format!("http://{}/nobody", free_address()))
        .start();
    let first = push(collector.address(), bulky(0)).expect("push");
    assert_eq!(first.status / 100, 2, "{}", first.text());
    let ballast = disk.path().join("ballast");
    // Ends with an error when the disk is full, which is what it is for.
    let _ = fs::write(&ballast, vec![0u8; 24 << 20]);
    let refused = wait::until("a refusal", || {
        let answer = push(collector.address(), bulky(1)).map_err(|error| format!("{error:#}"))?;
        wait::ensure(answer.status / 100 == 5, || format!("{}: {}", answer.status, answer.text()))
            .map(|()| answer)
    });
    assert!(refused.text().contains("space"), "the reason is given: {}", refused.text());
    assert_eq!(http::get(collector.address(), "/healthz", &[]).expect("ask").status, 200);
    fs::remove_file(&ballast).expect("make room");
    wait::until("the next request to be taken", || {
        let answer = push(collector.address(), bulky(2)).map_err(|error| format!("{error:#}"))?;
        wait::ensure(answer.status / 100 == 2, || format!("{}: {}", answer.status, answer.text()))
    });
    assert_said(&collector.log(), "space", 1..=REMINDERS);
}

#[test]
fn an_unwritable_data_directory_is_one_message() {
    require!(Need::Root);
    let disk = Tmpfs::mount("ro");
    let data: PathBuf = disk.path().join("data");
    for sonde in [Sonde::agent(), Sonde::collector()] {
        let target = format!("http://{}/api/v1/write", free_address());
        let mut sonde = sonde.with("--data-dir", &data).with("--remote-write", target).launch();
        let status = sonde.process().wait();
        assert!(!status.success(), "it must not run without the durability that was asked for");
        assert_said(&sonde.log(), &data.display().to_string(), 1..=1);
        let reasons = sonde.log().matches("Read-only file system").count();
        assert_eq!(reasons, 1, "the reason is given once: {}", sonde.log());
    }
}

#[test]
fn all_problems_of_a_configuration_are_reported_together() {
    for binary in ["sonde-agent", "sonde-collector"] {
        let output = Command::new(product(binary))
            .args(["check-config", "--remote-write", "not a url", "--queue-max-age", "5 bananas"])
            .args(["--remote-write", "ftp://host/path"])
            .output()
            .expect("start the binary");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success(), "{binary}: {said}");
        for part in ["not a url", "ftp://host/path", "bananas", "queue"] {
            assert!(said.contains(part), "{binary} does not mention `{part}`:\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// Length as a snappy block states it: a varint.
fn snappy_length(mut length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

/// A block that really unpacks to `length` bytes, from copies of one byte: 21 times its own size.
fn bomb(length: u64) -> Vec<u8> {
    let mut block = snappy_length(length);
    block.extend([0, b'x']); // a literal of one byte
    let mut left = length - 1;
    while left > 0 {
        let copy = left.min(64);
        block.extend([((copy - 1) as u8) << 2 | 2, 1, 0]); // a copy from one byte back
        left -= copy;
    }
    block
}

fn peak_memory(collector: &mut Sonde) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{}/status", collector.process().pid())).expect("read status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak is there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn foreign_bytes_are_refused_counted_and_harmless() {
    let mut collector = Sonde::collector().start();
    let address = collector.address();
    let good = body(vec![series(&[("__name__", "good")], &[(1, 1.0)])]);
    let garbage = snap_block(b"\xff\xff\xff\xff garbage");
    let named_twice = body(vec![series(&[("__name__", "a"), ("x", "1"), ("x", "2")], &[(1, 1.0)])]);
    let mut lie = snappy_length(3 << 30);
    lie.extend_from_slice(b"tiny");
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("no snappy", b"plain text".to_vec(), &[400]),
        ("truncated", good[..good.len() / 2].to_vec(), &[400]),
        ("no protobuf", garbage, &[400]),
        ("a label twice", named_twice, &[400]),
        ("a length of 3 GiB that is a lie", lie, &[400, 413]),
        ("a decompression bomb of 128 MiB", bomb(1 << 27), &[400, 413]),
        ("a decompression bomb of 1 GiB", bomb(1 << 30), &[400, 413]),
        ("a body of 300 MB", vec![0; 300_000_000], &[413]),
    ];
    let refusals = |collector: &Sonde| {
        let metrics = collector.metrics().expect("scrape");
        REFUSED.iter().map(|name| metrics.sum(name, &[])).fold(0.0, |sum, count| sum + count)
    };
    let before = refusals(&collector);
    for (name, bytes, allowed) in &cases {
        let answer = http::post(address, "/api/v1/write", &HEADERS, bytes).expect(name);
        assert!(allowed.contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
        assert!(!answer.text().trim().is_empty(), "{name}: no reason is given");
    }
    assert_eq!(refusals(&collector) - before, cases.len() as f64, "each refusal is counted once");
    let peak = peak_memory(&mut collector);
    assert!(peak < 256 << 20, "{peak} bytes were used for bodies that are refused");
    let answer = http::post(address, "/api/v1/write", &HEADERS, &good).expect("push");
    assert_eq!(answer.status / 100, 2, "{}", answer.text());
}

/// Requests that the collector refused, as a whole or for one sample.
const REFUSED: [&str; 2] =
    ["sonde_collector_refused_requests_total", "sonde_collector_refused_samples_total"];

/// Any bytes as a valid snappy block.
fn snap_block(bytes: &[u8]) -> Vec<u8> {
    let mut block = snappy_length(bytes.len() as u64);
    block.push(((bytes.len() - 1) as u8) << 2);
    block.extend_from_slice(bytes);
    block
}
