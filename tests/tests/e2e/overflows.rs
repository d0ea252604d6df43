//! Accept queues that overflow: the kernel counts that per network namespace, Sonde per listener.

use std::path::Path;
use std::process::Command;

use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker};

/// listen(2) with this lets one more wait.
const QUEUE: u32 = 5;
/// SYNs to a full queue.
const SYNS: u32 = 7;
/// Handshakes that the client completed, and whose last segment meets a full queue.
const HANDSHAKES: u32 = 3;

/// The kernel's own counts of the namespace that the command runs in: overflows and drops.
fn kernel_counts(mut cat: Command) -> (f64, f64) {
    let text = run(cat.arg("/proc/self/net/netstat"));
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let mut words = || lines.next().expect("two lines").split_ascii_whitespace();
    let (names, numbers) = (words(), words());
    let counts: Vec<(&str, &str)> = names.zip(numbers).collect();
    let count = |name| {
        let (_, number) = counts.iter().find(|(known, _)| *known == name).expect(name);
        number.parse().expect("a number")
    };
    (count("ListenOverflows"), count("ListenDrops"))
}

#[test]
fn syns_and_handshakes_that_a_containers_full_queue_refused_are_counted_in_prometheus() {
    require!(
        Need::Root,
        Need::Tool("dockerd"),
        Need::File("/bin/busybox"),
        Need::Tool("nsenter"),
        Need::Tool("nft"),
        Need::Tool("prometheus")
    );
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let server = docker.run("server", &[], &["ignore", "0.0.0.0:9000", &QUEUE.to_string()]);
    server.wait_for("listening");
    let address = format!("{}:9000", server.ip());
    let late = docker.run("late", &[], &["wait"]);
    // The last segment of these handshakes is lost until the queue is full, though the client believes them complete.
    let rules = |rest: &str| {
        format!(
            "add table inet late; \
             add chain inet late input {{ type filter hook input priority 0; }}; \
             flush chain inet late input; \
             add rule inet late input ip saddr {} tcp dport 9000 tcp flags == ack {rest} drop",
            late.ip()
        )
    };
    run(server.inside("nft").arg(rules("")));
    let mut hold = late.inside(TRAFFIC);
    hold.args(["hold", &address, &HANDSHAKES.to_string()]);
    let directory = tempfile::tempdir().expect("create a directory");
    let late_client = Process::start_with_input("late", hold, directory.path());
    wait::until("three handshakes", || {
        wait::ensure(late_client.output().contains("holding"), || late_client.output())
    });
    let fill = docker.run("fill", &["-i"], &["hold", &address, &(QUEUE + 1).to_string()]);
    fill.wait_for("holding");
    // One segment of each gets through; its length is 52 bytes.
    run(server.inside("nft").arg(rules("quota over 160 bytes")));
    late.traffic(&["abandon", &address, &SYNS.to_string()]);

    let id = server.id();
    let name = |metric: &str| {
        format!("container_net_tcp_listen_{metric}{{container_id=\"{id}\",listen_addr=\"0.0.0.0:9000\"}}")
    };
    let refused = f64::from(SYNS + HANDSHAKES);
    // The kernel takes the last segment of a handshake off the socket once more when it throws it away.
    let dropped = f64::from(SYNS + 2 * HANDSHAKES);
    prometheus.promql().expect(&[(name("overflows_total"), refused), (name("drops_total"), dropped)]);
    assert_eq!(kernel_counts(server.inside("cat")), (refused, refused), "the kernel's own count");
    let labels = [("container_id", id.as_str()), ("listen_addr", "0.0.0.0:9000")];
    agent.expect(&[
        ("container_net_tcp_listen_overflows_total", &labels, refused),
        ("container_net_tcp_listen_backlog", &labels, f64::from(QUEUE + 1)),
    ]);
}

/// Starts a server that accepts nobody.
fn ignore(namespace: &Netns, address: &str, queue: u32, directory: &Path) -> Process {
    let mut command = namespace.command(TRAFFIC);
    command.args(["ignore", address, &queue.to_string()]);
    let server = Process::start(address, command, directory);
    wait::until("the server to listen", || {
        wait::ensure(server.output().contains("listening"), || server.output())
    });
    server
}

#[test]
fn a_drop_for_another_reason_is_no_overflow_and_neighbours_are_told_apart() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("nft"));
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    run(namespace.command("sh").args(["-c", "echo 0 > /proc/sys/net/ipv4/tcp_syncookies"]));
    // Handshakes of this port never end, so without cookies its listener takes no more of them than its queue is long.
    let rules = "add table inet fate; \
        add chain inet fate input { type filter hook input priority 0; }; \
        add rule inet fate input tcp sport 7110 tcp flags & (syn | ack) == syn | ack drop";
    run(namespace.command("nft").arg(rules));
    let [pending, full] = ["127.0.0.1:7110", "127.0.0.1:7111"];
    let _servers =
        [ignore(&namespace, pending, 2, directory.path()), ignore(&namespace, full, 0, directory.path())];
    let abandon = |address: &str, count: u32| {
        run(namespace.command(TRAFFIC).args(["abandon", address, &count.to_string()]));
    };
    // Before the agent's time.
    run(namespace.command(TRAFFIC).args(["hold", full, "1"]));
    abandon(full, 9);
    abandon(pending, 9);
    let (overflowed, dropped) = kernel_counts(namespace.command("cat"));
    let agent = Sonde::agent().start();
    let labels = |address| [("container_id", "/host/traffic"), ("listen_addr", address)];
    let (drops, overflows) =
        ("container_net_tcp_listen_drops_total", "container_net_tcp_listen_overflows_total");
    agent.expect(&[(overflows, &labels(full), 0.0), (overflows, &labels(pending), 0.0)]);

    abandon(pending, 6);
    agent.expect(&[(drops, &labels(pending), 6.0), (overflows, &labels(pending), 0.0)]);
    abandon(full, SYNS);
    agent.expect(&[
        (overflows, &labels(full), f64::from(SYNS)),
        (drops, &labels(full), f64::from(SYNS)),
        (overflows, &labels(pending), 0.0),
        (drops, &labels(pending), 6.0),
    ]);
    let kernel = kernel_counts(namespace.command("cat"));
    let now = (overflowed + f64::from(SYNS), dropped + f64::from(SYNS + 6));
    assert_eq!(kernel, now, "the kernel's own count");
}
