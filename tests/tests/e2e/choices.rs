//! Every choice of a chain that this kernel takes, forced by having it refuse the better ones: exact where the choice
//! promises it, absent with a reason where it cannot tell.

use std::io::Write;
use std::process::Command;

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::process::{Process, free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::traffic::REPLY_BYTES;
use sonde_tests::{require, skip, wait};

use crate::support::{TRAFFIC, serve, traffic};
use crate::udp;

/// An agent on a kernel that refuses these programs.
fn refusing(programs: &str) -> Sonde {
    Sonde::agent().with_env("SONDE_REFUSE", programs)
}

/// Verdict and choice, or reason, of a feature.
fn probe(agent: &Sonde, name: &str) -> (String, String) {
    let status = agent.status();
    let probes = status["probes"].as_array().expect("/status lists probes");
    let probe = probes.iter().find(|probe| probe["name"] == name).expect(name);
    let text = |key: &str| probe[key].as_str().map(str::to_owned);
    (text("verdict").expect("a verdict"), text("choice").or_else(|| text("reason")).unwrap_or_default())
}

/// `/status` says why a metric is absent, and it is.
#[track_caller]
fn assert_absent(agent: &Sonde, metrics: &[&str]) {
    let status = agent.status();
    let absent = status["absent"].as_array().expect("/status lists what is absent");
    let shown = agent.metrics().expect("scrape");
    for metric in metrics {
        assert!(absent.iter().any(|entry| entry["metric"] == *metric), "{metric} is not explained");
        assert!(shown.select(metric, &[]).is_empty(), "{metric} is there all the same");
    }
}

/// A client that asks a server of another service and stays; each with exact bytes.
#[track_caller]
fn assert_datagrams_are_exact(agent: &Sonde, name: &str) {
    const MESSAGES: u32 = 19;
    const BYTES: u32 = 1_103;
    let directory = tempfile::tempdir().expect("create a directory");
    let asking = ServiceCgroup::new(&format!("{name}-asking"));
    let answering = ServiceCgroup::new(&format!("{name}-answering"));
    let (_server, address) =
        udp::start("server", udp::udp(&answering, &["serve", "127.0.0.1:0"]), &directory);
    let (messages, bytes) = (MESSAGES.to_string(), BYTES.to_string());
    let ask = udp::udp(&asking, &["stay", &address, &messages, &bytes]);
    let client = Process::start("client", ask, directory.path());
    wait::until("the client to ask", || wait::ensure(client.output().contains("asked"), || client.output()));
    let (asked, answered) = ((MESSAGES * BYTES, MESSAGES), (MESSAGES * REPLY_BYTES, MESSAGES));
    udp::expect(agent, asking.id(), asked, answered);
    udp::expect(agent, answering.id(), answered, asked);
}

#[test]
fn datagrams_are_exact_by_every_choice() {
    require!(Need::Root);
    let unforced = probe(&Sonde::agent().start(), "udp/traffic");
    assert_eq!(unforced.0, "ok", "{unforced:?}");
    let by_tracepoint = refusing("udp_sendmsg").start();
    if probe(&by_tracepoint, "udp/traffic").1.starts_with("tp_btf/") {
        assert_datagrams_are_exact(&by_tracepoint, "by-tracepoint");
    }
    drop(by_tracepoint);
    let by_packet = refusing("udp_sendmsg, udp_send_length").start();
    assert_eq!(probe(&by_packet, "udp/traffic"), ("ok".to_owned(), "cgroup_skb".to_owned()));
    assert_datagrams_are_exact(&by_packet, "by-packet");
    assert_absent(&by_packet, &["container_net_udp_errors_total"]);
    drop(by_packet);
    let refused = refusing("udp_sendmsg,udp_send_length,udp_egress").start();
    let (verdict, reason) = probe(&refused, "udp/traffic");
    assert_eq!(
        (verdict.as_str(), reason.matches("refused by a test").count()),
        ("unsupported", 3),
        "{reason}"
    );
    assert_absent(&refused, &["container_net_udp_bytes_sent_total", "container_net_udp_errors_total"]);
}

#[test]
fn without_the_iterator_of_tasks_proc_tells_whose_a_process_is() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let (agent, service) = (refusing("task_iter").start(), ServiceCgroup::new("by-proc"));
    let (verdict, reason) = probe(&agent, "process/tasks");
    assert_eq!(verdict, "unsupported", "{reason}");
    let address = free_address().to_string();
    let _server = serve(service.command(TRAFFIC), &address, directory.path());
    let _client = Process::start_with_input("client", hold(&service, &address, 3), directory.path());
    let destination = [("container_id", service.id()), ("destination", address.as_str())];
    let listener = [("container_id", service.id()), ("listen_addr", address.as_str())];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &destination, 3.0),
        ("container_net_tcp_inbound_connections_total", &listener, 3.0),
    ]);
    assert_absent(&agent, &["container_resources_disk_delay_seconds_total"]);
}

fn hold(service: &ServiceCgroup, address: &str, count: u32) -> Command {
    let mut command = service.command(TRAFFIC);
    command.args(["hold", address, &count.to_string()]);
    command
}

#[test]
fn without_the_iterator_of_sockets_connects_and_bytes_are_exact_at_their_end() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let (agent, service) =
        (refusing("file_iter,file_iter_probed").start(), ServiceCgroup::new("by-transition"));
    let address = free_address().to_string();
    let closed = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    let connect = |arguments: &[&str]| {
        let mut command = service.command(TRAFFIC);
        run(command.args(arguments));
    };
    connect(&["connect", &address, "7"]);
    connect(&["send", &address, "54321"]);
    connect(&["refused", &closed, "3"]);
    let destination = [("container_id", service.id()), ("destination", address.as_str())];
    let failed = [("container_id", service.id()), ("destination", closed.as_str())];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &destination, 8.0),
        ("container_net_tcp_bytes_sent_total", &destination, 54_321.0),
        ("container_net_tcp_failed_connects_total", &failed, 3.0),
        ("container_net_tcp_active_connections", &destination, 0.0),
    ]);
    let way = [("container_id", service.id()), ("destination_ip", "127.0.0.1")];
    let metrics = agent.metrics().expect("scrape");
    assert!(metrics.sum("container_net_tcp_min_rtt_seconds", &way) > 0.0, "ends tell the round trip");
    assert_absent(&agent, &["container_net_tcp_listen_backlog"]);
}

#[test]
fn open_sockets_are_exact_by_either_way_of_reading() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    for (refused, choice, name) in [
        ("none", "iter/task_file", "by-typed-reads"),
        ("file_iter", "iter/task_file by probed reads", "by-probed-reads"),
    ] {
        let (agent, service) = (refusing(refused).start(), ServiceCgroup::new(name));
        for feature in ["tcp/sockets", "udp/sockets", "process/files"] {
            assert_eq!(probe(&agent, feature), ("ok".to_owned(), choice.to_owned()), "{feature}");
        }
        let address = free_address().to_string();
        let _server = serve(traffic(&[]), &address, directory.path());
        let mut client = Process::start_with_input("client", hold(&service, &address, 3), directory.path());
        let mut input = client.take_input();
        input.write_all(b"send 321\n").expect("tell the client to send");
        let owner = ("container_id", service.id());
        let destination = [owner, ("destination", address.as_str())];
        let listener = [("listen_addr", address.as_str())];
        agent.expect(&[
            ("container_net_tcp_active_connections", &destination, 3.0),
            ("container_net_tcp_bytes_sent_total", &destination, 321.0),
            ("container_net_tcp_inbound_active_connections", &listener, 3.0),
            ("container_net_tcp_listen_backlog", &listener, 0.0),
            ("container_resources_open_sockets", &[owner], 3.0),
        ]);
    }
}

#[test]
fn without_transitions_connects_are_absent_and_not_zero() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let (agent, service) = (refusing("tcp_state,tcp_state_tp").start(), ServiceCgroup::new("by-pass"));
    let (verdict, reason) = probe(&agent, "tcp/lifecycle");
    assert_eq!(verdict, "unsupported", "{reason}");
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    run(service.command(TRAFFIC).args(["connect", &address, "3"]));
    assert_absent(&agent, &["container_net_tcp_successful_connects_total"]);
}

/// Connections of one side after the other, on sockets that the kernel takes from those just given back.
#[test]
fn without_transitions_a_socket_at_the_address_of_an_earlier_one_is_another_one() {
    require!(Need::Root);
    const HELD: u32 = 40;
    let agent = refusing("tcp_state,tcp_state_tp").start();
    let [one, two, server] = ["reuse-one", "reuse-two", "reuse-server"].map(ServiceCgroup::new);
    for _ in 0..3 {
        let directory = tempfile::tempdir().expect("create a directory");
        let address = free_address().to_string();
        let _server = serve(server.command(TRAFFIC), &address, directory.path());
        let number = |service: &ServiceCgroup, metric: &str, label: &str, value: u32| {
            let labels = [("container_id", service.id()), (label, address.as_str())];
            agent.expect(&[(metric, &labels, f64::from(value))]);
        };
        let active = "container_net_tcp_active_connections";
        let inbound = "container_net_tcp_inbound_active_connections";
        let start = |name: &str, service: &ServiceCgroup| {
            let client = Process::start_with_input(name, hold(service, &address, HELD), directory.path());
            wait::until("the client to hold its connections", || {
                wait::ensure(client.output().contains("holding"), || client.output())
            });
            client
        };
        let first = start("first", &one);
        number(&one, active, "destination", HELD);
        number(&server, inbound, "listen_addr", HELD);
        drop(first);
        let second = start("second", &two);
        number(&two, active, "destination", HELD);
        number(&one, active, "destination", 0);
        number(&server, inbound, "listen_addr", HELD);
        let metrics = agent.metrics().expect("scrape");
        for service in [&one, &two] {
            let wrong = metrics.select(inbound, &[("container_id", service.id())]);
            assert!(wrong.is_empty(), "{} listens nowhere: {wrong:?}", service.id());
        }
        let wrong = metrics.select(active, &[("container_id", server.id())]);
        assert!(wrong.is_empty(), "the server connects to nobody: {wrong:?}");
        drop(second);
        number(&two, active, "destination", 0);
    }
}

#[test]
fn requests_of_disks_are_counted_by_the_second_choice() {
    require!(Need::Root);
    let directory = tempfile::tempdir_in("/var/tmp").expect("make a directory");
    let Some(device) = crate::block::disk(directory.path()) else {
        return skip::record("/var/tmp is not on a disk of its own number");
    };
    let agent = refusing("disk_latency").with("--probe", "block-latency=on").start();
    let expected = ("ok".to_owned(), "tp_btf/block_rq_complete".to_owned());
    assert_eq!(probe(&agent, "block-latency/requests"), expected);
    crate::block::assert_requests_are_counted(&agent, directory.path(), &device);
}

#[test]
fn without_a_form_of_its_hook_disk_io_is_explained() {
    require!(Need::Root);
    // Which form the hook has is the kernel's; a machine takes one of the two.
    let unforced = probe(&Sonde::agent().start(), "block/io");
    let agent = refusing("bio_queue,bio_queue_of").start();
    let (verdict, reason) = probe(&agent, "block/io");
    if unforced.0 != "ok" {
        return assert_eq!((verdict, reason), unforced, "what is not wanted is not tried");
    }
    assert_eq!(
        (verdict.as_str(), reason.matches("refused by a test").count()),
        ("unsupported", 2),
        "{reason}"
    );
}
