//! Traffic of the whole node by zone and class, in exact numbers; also of containers that are never shown.

use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::require;
use sonde_tests::router::Router;
use sonde_tests::skip::Need;
use sonde_tests::traffic::REPLY_BYTES;
use sonde_tests::tsdb::{Kind, Tsdb};

use crate::support::{TRAFFIC, docker, serve};

const CONNECTS: u32 = 4;
const BYTES: u32 = 100_007;

/// A server behind a router, under the addresses of several zones.
struct Zones {
    router: Router,
    /// Where it really is.
    address: String,
    _namespace: Netns,
    _server: Process,
    _directory: tempfile::TempDir,
}

impl Zones {
    fn new(addresses: &[&str]) -> Self {
        let (mut router, namespace) = (Router::new(), Netns::new());
        let directory = tempfile::tempdir().expect("create a directory");
        let address = format!("{}:9000", router.attach(&namespace));
        addresses.iter().for_each(|from| router.lead(from, &address));
        let server = serve(namespace.command(TRAFFIC), &address, directory.path());
        Self { router, address, _namespace: namespace, _server: server, _directory: directory }
    }
}

/// What connecting and sending once per `times` makes of the totals with these labels.
fn series(labels: &str, times: u32) -> Vec<(String, f64)> {
    let connections = f64::from(times * (CONNECTS + 1));
    let bytes = |name: &str| format!("node_net_traffic_{name}_bytes_total{{{labels},protocol=\"tcp\"}}");
    let direction = |name: &str| format!("node_net_tcp_connections_total{{{labels},direction=\"{name}\"}}");
    vec![
        (bytes("sent"), f64::from(times * BYTES)),
        (bytes("received"), connections * f64::from(REPLY_BYTES)),
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
