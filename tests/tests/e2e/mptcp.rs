//! MPTCP, which servers written in Go speak unless told otherwise: the file is that of an MPTCP socket, and what listens
//! and carries bytes is a TCP socket inside. Also a listener that is behind no file at all.

use std::io::Write;

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::require;
use sonde_tests::skip::Need;
use sonde_tests::wait;

use crate::support::{SERVE_IN_PYTHON, TRAFFIC};

/// Connections of clients that speak TCP alone, to each server.
const PLAIN: u32 = 5;
/// Bytes over the connection that is newer than the agent: so few that MPTCP never waits, and sends nothing again by itself.
const NEW_BYTES: u32 = 12_345;
/// Bytes that the older connection carries before the agent starts, and after.
const OLD_BYTES: [u32; 2] = [1_000, 23_456];

/// What makes a server's listener; 262 is `IPPROTO_MPTCP` (linux/in.h).
const LISTENER: &str = "
import socket, sys
host, port = sys.argv[1].split(':')
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
listener.bind((host, int(port)))
listener.listen(64)
";

/// Holds one connection and sends as many bytes as each line of its input says.
const CLIENT: &str = "
import socket, sys
host, port = sys.argv[1].split(':')
connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
connection.connect((host, int(port)))
print('holding', flush=True)
for line in sys.stdin:
    connection.sendall(b'x' * int(line))
    print('sent', line, flush=True)
";

/// Sends its listener to itself through a Unix socket and never takes it out.
const IN_FLIGHT: &str = "
import array, socket, sys
host, port = sys.argv[1].split(':')
listener = socket.socket()
listener.bind((host, int(port)))
listener.listen(64)
here, there = socket.socketpair()
here.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [listener.fileno()]))])
listener.close()
print('listening', flush=True)
sys.stdin.read()
";

/// Runs a program in a service and a network namespace until it says a word.
fn start(
    (service, namespace): (&ServiceCgroup, &Netns),
    (program, address): (&str, &str),
    word: &str,
    directory: &std::path::Path,
) -> Process {
    let mut command = service.command("nsenter");
    command.arg(format!("--net=/run/netns/{}", namespace.name()));
    command.args(["--", "python3", "-c", program, address]);
    let process = Process::start_with_input(&format!("{word} {address}"), command, directory);
    said(&process, word);
    process
}

fn said(process: &Process, text: &str) {
    wait::until(text, || wait::ensure(process.output().contains(text), || process.output()));
}

/// How many connections were made by MPTCP in a namespace, and did not fall back to TCP.
fn spoken(namespace: &Netns) -> u32 {
    let counters = run(namespace.command("cat").arg("/proc/net/netstat"));
    let mut rows = counters.lines().filter_map(|line| line.strip_prefix("MPTcpExt: "));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "MPCapableACKRX").expect("the counter of MPTCP");
    value.parse().expect("a number")
}

#[test]
fn what_mptcp_servers_take_and_clients_send_is_counted_as_tcp() {
    // In a new network namespace MPTCP is on, whatever the host's setting is.
    let switch = Need::File("/proc/sys/net/mptcp/enabled");
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("python3"), switch);
    let directory = tempfile::tempdir().expect("create a directory");
    let namespace = Netns::new();
    let (server, client) = (ServiceCgroup::new("mptcp-server"), ServiceCgroup::new("mptcp-client"));
    let [old, new] = ["127.0.0.1:7300", "127.0.0.1:7301"];
    let program = format!("{LISTENER}{SERVE_IN_PYTHON}");
    let serve = |address| start((&server, &namespace), (&program, address), "listening", directory.path());
    let connect = |address| start((&client, &namespace), (CLIENT, address), "holding", directory.path());
    let send = |process: &mut Process, input: &mut std::process::ChildStdin, bytes: u32| {
        writeln!(input, "{bytes}").expect("tell the client");
        said(process, &format!("sent {bytes}"));
    };

    let _old_server = serve(old);
    let mut old_client = connect(old);
    let mut old_input = old_client.take_input();
    send(&mut old_client, &mut old_input, OLD_BYTES[0]);
    let agent = Sonde::agent().start();
    let _new_server = serve(new);
    let listens = |address| [("container_id", server.id()), ("listen_addr", address)];
    // `expect` looks again at later snapshots: what a pass does not see would be gone by then.
    agent.expect(&[
        ("container_net_tcp_listen_info", &listens(old), 1.0),
        ("container_net_tcp_listen_info", &listens(new), 1.0),
    ]);
    let mut new_client = connect(new);
    let mut new_input = new_client.take_input();
    send(&mut old_client, &mut old_input, OLD_BYTES[1]);
    send(&mut new_client, &mut new_input, NEW_BYTES);
    for address in [old, new] {
        run(namespace.command(TRAFFIC).args(["connect", address, &PLAIN.to_string()]));
    }
    assert_eq!(spoken(&namespace), 2, "both clients that are held speak MPTCP, the others do not");

    let leads = |address| [("container_id", client.id()), ("destination", address)];
    agent.expect(&[
        ("container_net_tcp_inbound_connections_total", &listens(old), f64::from(PLAIN)),
        ("container_net_tcp_inbound_connections_total", &listens(new), f64::from(PLAIN + 1)),
        ("container_net_tcp_inbound_active_connections", &listens(old), 1.0),
        ("container_net_tcp_inbound_active_connections", &listens(new), 1.0),
        ("container_net_tcp_listen_backlog_max", &listens(new), 65.0),
        ("container_net_tcp_active_connections", &leads(old), 1.0),
        ("container_net_tcp_active_connections", &leads(new), 1.0),
        ("container_net_tcp_successful_connects_total", &leads(new), 1.0),
        ("container_net_tcp_bytes_sent_total", &leads(old), f64::from(OLD_BYTES[1])),
        ("container_net_tcp_bytes_sent_total", &leads(new), f64::from(NEW_BYTES)),
    ]);
    let metrics = agent.metrics().expect("scrape");
    for metric in
        ["container_net_tcp_inbound_connections_total", "container_net_tcp_inbound_active_connections"]
    {
        let folded = metrics.select(metric, &listens("~overflow"));
        assert!(folded.is_empty(), "{metric}: {folded:?}");
    }

    drop((old_client, new_client, old_input, new_input));
    agent.expect(&[
        ("container_net_tcp_active_connections", &leads(old), 0.0),
        ("container_net_tcp_active_connections", &leads(new), 0.0),
        ("container_net_tcp_inbound_active_connections", &listens(new), 0.0),
        ("container_net_tcp_bytes_sent_total", &leads(old), f64::from(OLD_BYTES[1])),
        ("container_net_tcp_bytes_sent_total", &leads(new), f64::from(NEW_BYTES)),
    ]);
}

#[test]
fn a_listener_behind_no_open_file_stays_one() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("python3"));
    let directory = tempfile::tempdir().expect("create a directory");
    let (namespace, service) = (Netns::new(), ServiceCgroup::new("in-flight"));
    // No pass but those of the questions below, so that none sees it while its file is open.
    let agent = Sonde::agent().with("--scrape-interval", "1h").start();
    let address = "127.0.0.1:7302";
    let mut server = start((&service, &namespace), (IN_FLIGHT, address), "listening", directory.path());
    let listens = [("container_id", service.id()), ("listen_addr", address)];
    agent.expect(&[("container_net_tcp_listen_info", &listens, 1.0)]);
    // They wait in its queue: nobody accepts.
    run(namespace.command(TRAFFIC).args(["hold", address, &PLAIN.to_string()]));
    agent.expect(&[("container_net_tcp_inbound_connections_total", &listens, f64::from(PLAIN))]);
    server.kill();
    agent.expect(&[("container_net_tcp_listen_info", &listens, 0.0)]);
}
