//! Traffic of the whole node by zone and class, in exact numbers; also of containers that are never shown.

use rustix::process::Signal;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::router::Router;
use sonde_tests::skip::Need;
use sonde_tests::traffic::REPLY_BYTES;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker, serve};
use crate::udp::start;

const CONNECTS: u32 = 4;
const BYTES: u32 = 100_007;
const MESSAGES: u32 = 11;
/// More than a packet holds: what is taken apart on the way is counted as a whole.
const DATAGRAM: u32 = 5_003;

/// A server behind a router, under the addresses of several zones.
struct Zones {
    router: Router,
    /// Where it really is.
    address: String,
    _namespace: Netns,
    _servers: [Process; 2],
    _directory: tempfile::TempDir,
}

impl Zones {
    fn new(addresses: &[&str]) -> Self {
        let (mut router, namespace) = (Router::new(), Netns::new());
        let directory = tempfile::tempdir().expect("create a directory");
        let address = format!("{}:9000", router.attach(&namespace));
        addresses.iter().for_each(|from| router.lead(from, &address));
        let server = serve(namespace.command(TRAFFIC), &address, directory.path());
        let mut command = namespace.command(TRAFFIC);
        command.args(["udp", "serve", &address]);
        let (datagrams, _) = start("datagrams", command, &directory);
        Self { router, address, _namespace: namespace, _servers: [server, datagrams], _directory: directory }
    }
}

/// What connecting, sending and asking once per `times` makes of the totals with these labels.
fn series(labels: &str, times: u32) -> Vec<(String, f64)> {
    let connections = f64::from(times * (CONNECTS + 1));
    let of = |name: &str, protocol: &str| {
        format!("node_net_traffic_{name}_bytes_total{{{labels},protocol=\"{protocol}\"}}")
    };
    let direction = |name: &str| format!("node_net_tcp_connections_total{{{labels},direction=\"{name}\"}}");
    vec![
        (of("sent", "tcp"), f64::from(times * BYTES)),
        (of("received", "tcp"), connections * f64::from(REPLY_BYTES)),
        (of("sent", "udp"), f64::from(times * MESSAGES * DATAGRAM)),
        (of("received", "udp"), f64::from(times * MESSAGES * REPLY_BYTES)),
        (direction("outbound"), connections),
        (direction("inbound"), 0.0),
    ]
}

#[test]
fn bytes_between_zones_are_exact() {
    require!(
        Need::Root,
        Need::Tool("ip"),
        Need::Tool("nft"),
        Need::Tool("nsenter"),
        Need::Tool("prometheus")
    );
    let addresses = ["10.201.1.1:9000", "10.201.2.1:9000", "10.201.2.7:9000", "10.201.3.1:9000"];
    let mut zones = Zones::new(&addresses);
    let client = Netns::new();
    zones.router.attach(&client);
    let prometheus = Tsdb::start(Kind::Prometheus);
    let real = zones.address.split(':').next().expect("an address").to_owned();
    let agent = Sonde::agent()
        .with("--zone", "zone-a")
        .with("--network", "10.201.1.0/24=zone-a")
        .with("--network", "10.201.2.0/24=zone-b/vpc")
        .with("--network", "10.201.2.7=zone-c")
        .with("--network", "10.201.3.0/24=/partner")
        .with("--network", format!("{real}=never"))
        .with("--remote-write", prometheus.remote_write())
        .start();
    for address in addresses.iter().chain([&zones.address.as_str()]) {
        run(client.command(TRAFFIC).args(["connect", address, &CONNECTS.to_string()]));
        run(client.command(TRAFFIC).args(["send", address, &BYTES.to_string()]));
        run(client.command(TRAFFIC).args([
            "udp",
            "ask",
            address,
            &MESSAGES.to_string(),
            &DATAGRAM.to_string(),
        ]));
    }
    let mut expected = series(r#"zone="zone-a",class="private",cross_zone="false""#, 1);
    expected.extend(series(r#"zone="zone-b",class="vpc",cross_zone="true""#, 1));
    expected.extend(series(r#"zone="zone-c",class="private",cross_zone="true""#, 1));
    expected.extend(series(r#"zone="",class="partner",cross_zone="""#, 1));
    expected.push(("node_net_zone_info{zone=\"zone-a\"}".to_owned(), 1.0));
    prometheus.promql().expect(&expected);
    // The server's own address is this node's, and leads nowhere else.
    let metrics = agent.metrics().expect("scrape");
    assert_eq!(metrics.sum("node_net_tcp_connections_total", &[("zone", "never")]), 0.0);
    assert_eq!(metrics.sum("node_net_traffic_sent_bytes_total", &[("zone", "never")]), 0.0);
    let asked = f64::from(MESSAGES * DATAGRAM);
    let local = [("class", "local"), ("protocol", "udp")];
    assert!(metrics.sum("node_net_traffic_sent_bytes_total", &local) >= asked);
    let local = [("class", "local"), ("direction", "outbound")];
    assert!(metrics.sum("node_net_tcp_connections_total", &local) >= f64::from(CONNECTS + 1));
}

#[test]
fn what_is_never_shown_is_in_the_totals() {
    require!(
        Need::Root,
        Need::Tool("ip"),
        Need::Tool("nft"),
        Need::Tool("nsenter"),
        Need::Tool("dockerd"),
        Need::Tool("prometheus"),
        Need::File("/bin/busybox")
    );
    let address = "10.201.4.1:9000";
    let mut zones = Zones::new(&[address]);
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent()
        .with("--zone", "zone-a")
        .with("--network", "10.201.4.0/24=zone-d")
        .with("--min-container-age", "1h")
        .with("--remote-write", prometheus.remote_write())
        .start();
    let traffic = |container: &sonde_tests::docker::Container<'_>| {
        container.traffic(&["connect", address, &CONNECTS.to_string()]);
        container.traffic(&["send", address, &BYTES.to_string()]);
        container.traffic(&["udp", "ask", address, &MESSAGES.to_string(), &DATAGRAM.to_string()]);
        container.id()
    };
    let young = docker.run_image("young", &["--network", "none"], docker.image(), &["wait"]);
    zones.router.attach_process(&young.pid());
    let mut hidden = vec![traffic(&young)];
    {
        let short = docker.run_image("short", &["--network", "none"], docker.image(), &["wait"]);
        zones.router.attach_process(&short.pid());
        hidden.push(traffic(&short));
    }
    let labels = r#"zone="zone-d",class="private",cross_zone="true""#;
    prometheus.promql().expect(&series(labels, 2));
    let metrics = agent.metrics().expect("scrape");
    for id in &hidden {
        let labels = [("container_id", id.as_str())];
        assert_eq!(metrics.sum("container_net_tcp_successful_connects_total", &labels), 0.0, "{id} is shown");
    }
}

#[test]
fn an_address_that_only_datagrams_tell_is_this_nodes() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nft"), Need::Tool("nsenter"));
    let (mut router, client, server) = (Router::new(), Netns::new(), Netns::new());
    let directory = tempfile::tempdir().expect("create a directory");
    router.attach(&client);
    let mut command = server.command(TRAFFIC);
    command.args(["udp", "serve", &format!("{}:9000", router.attach(&server))]);
    let (_server, address) = start("server", command, &directory);
    let agent = Sonde::agent().with("--zone", "here").with("--network", "10.202.0.0/16=never").start();
    run(client.command(TRAFFIC).args(["udp", "ask", &address, "7", "100"]));
    wait::until("the datagrams to be counted", || {
        let metrics = agent.metrics()?;
        let of = |labels: &[(&str, &str)]| metrics.sum("node_net_traffic_sent_bytes_total", labels);
        assert_eq!(of(&[("zone", "never")]), 0.0);
        let local = of(&[("protocol", "udp"), ("class", "local")]);
        anyhow::ensure!(local >= f64::from(7 * (100 + REPLY_BYTES)), "{local} bytes");
        Ok(())
    });
}

#[test]
fn datagrams_to_any_number_of_others_are_all_in_the_totals() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nft"), Need::Tool("nsenter"));
    const PEERS: u32 = 60_000;
    /// `UDP_PEERS_MAX` of the kernel half; two maps of that size are written by turns.
    const ROOM: f64 = 8192.0;
    let (mut router, client) = (Router::new(), Netns::new());
    router.attach(&client);
    let mut agent = Sonde::agent().with("--network", "10.203.0.0/16=far").start();
    let send =
        || run(client.command(TRAFFIC).args(["udp", "scatter", "10.203.0.0:9", &PEERS.to_string(), "10"]));
    // In all; others on this machine may find no room at the same moment.
    let sent = |agent: &Sonde, count: u32| {
        wait::until("the datagrams to be counted", || {
            let metrics = agent.metrics()?;
            let of = |labels| {
                metrics.sum("node_net_traffic_sent_bytes_total", &[("protocol", "udp"), labels]) / 10.0
            };
            let (told, rest) = (of(("zone", "far")), of(("class", "~overflow")));
            let more = told + rest - f64::from(count);
            anyhow::ensure!(more >= 0.0, "{told} others were told apart, {rest} were not");
            assert!(more < 100.0, "{more} more than the {count} sent");
            Ok((told, rest))
        })
    };
    // While they are sent the agent makes room.
    send();
    let (told, rest) = sent(&agent, PEERS);
    assert!(told > 2.5 * ROOM, "{told} others were told apart, {rest} were not");
    // While it cannot, nothing is lost but whom it was for.
    agent.process().signal(Signal::STOP);
    send();
    agent.process().signal(Signal::CONT);
    let (all_told, all_rest) = sent(&agent, 2 * PEERS);
    assert!(all_told - told < 2.5 * ROOM, "{all_told} were told apart, before that {told}");
    assert!(all_rest > rest, "{all_rest} were not told apart, before that {rest}");
}
