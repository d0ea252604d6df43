//! A transparent proxy: what it accepts has the addresses that its clients asked for, which are no addresses of its own.

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::router::Router;
use sonde_tests::skip::Need;
use sonde_tests::{require, wait};

use crate::support::{SERVE_IN_PYTHON, TRAFFIC};

/// Destinations that clients ask for, one after the other.
const ASKED: u32 = 20;
/// Connections that are older than the agent.
const HELD: u32 = 3;

/// What makes a listener that may have foreign addresses: 19 is `IP_TRANSPARENT` (linux/in.h).
const PROXY: &str = "
import socket
listener = socket.socket()
listener.setsockopt(socket.SOL_IP, 19, 1)
listener.bind(('127.0.0.1', 9000))
listener.listen(64)
";

#[test]
fn what_a_transparent_proxy_accepts_is_inbound_and_makes_no_address_of_its_own() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("nft"), Need::Tool("python3"));
    let directory = tempfile::tempdir().expect("create a directory");
    let (mut router, namespace, clients) = (Router::new(), Netns::new(), Netns::new());
    let address = router.attach(&namespace);
    router.route("203.0.113.0/24", &address);
    router.attach(&clients);
    run(namespace.command("ip").args(["route", "add", "local", "203.0.113.0/24", "dev", "lo"]));
    let rules = "add table inet proxy; \
        add chain inet proxy prerouting { type filter hook prerouting priority mangle; }; \
        add rule inet proxy prerouting ip daddr 203.0.113.0/24 tcp dport 80 tproxy ip to 127.0.0.1:9000 accept";
    run(namespace.command("nft").arg(rules));
    let service = ServiceCgroup::new("transparent");
    let mut command = service.command("nsenter");
    command.arg(format!("--net=/run/netns/{}", namespace.name())).args(["--", "python3", "-c"]);
    command.arg(format!("{PROXY}{SERVE_IN_PYTHON}"));
    let proxy = Process::start("proxy", command, directory.path());
    let said = |process: &Process, text: &str| {
        wait::until(text, || wait::ensure(process.output().contains(text), || process.output()));
    };
    said(&proxy, "listening");
    let mut hold = clients.command(TRAFFIC);
    hold.args(["hold", "203.0.113.200:80", &HELD.to_string()]);
    let client = Process::start_with_input("client", hold, directory.path());
    said(&client, "holding");
    let agent = Sonde::agent().with("--network", "203.0.113.0/24=far/asked").start();
    for number in 1..=ASKED {
        run(clients.command(TRAFFIC).args(["connect", &format!("203.0.113.{number}:80"), "1"]));
    }

    let owner = service.id();
    let folded = [("container_id", owner), ("listen_addr", "~overflow")];
    let own = [("container_id", owner), ("listen_addr", "127.0.0.1:9000")];
    let asked = [("container_id", "/host/traffic"), ("destination", "203.0.113.200:80")];
    agent.expect(&[
        ("container_net_tcp_inbound_connections_total", &folded, f64::from(ASKED)),
        ("container_net_tcp_inbound_active_connections", &folded, f64::from(HELD)),
        ("container_net_tcp_listen_info", &own, 1.0),
        ("container_net_tcp_active_connections", &asked, f64::from(HELD)),
    ]);
    let metrics = agent.metrics().expect("scrape");
    let all = [("container_id", owner)];
    let outbound = metrics.select("container_net_tcp_active_connections", &all);
    assert!(outbound.is_empty(), "the proxy connects to nobody: {outbound:?}");
    let inbound = metrics.select("container_net_tcp_inbound_active_connections", &all);
    assert_eq!(inbound.len(), 1, "{inbound:?}");
    // And no address of this node, so that what goes there goes to its zone.
    let zone = [("zone", "far"), ("class", "asked"), ("direction", "outbound")];
    assert_eq!(metrics.sum("node_net_tcp_connections_total", &zone), f64::from(ASKED));
}
