//! DNS: names of destinations, from a name server of the test's own in a namespace of its own.

use std::process::Command;

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::dns::{ALIASED, FLOOD, MANY, NEVER, ONE};
use sonde_tests::docker::Container;
use sonde_tests::netns::Netns;
use sonde_tests::process::{Process, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker, serve};

/// A namespace whose loopback has all addresses that the name server knows, and the server in it.
struct Network {
    namespace: Netns,
    service: ServiceCgroup,
    directory: tempfile::TempDir,
    _name_server: Process,
}

impl Network {
    #[track_caller]
    fn new(service: &str) -> Self {
        let (namespace, service) = (Netns::new(), ServiceCgroup::new(service));
        let directory = tempfile::tempdir().expect("create a directory");
        for address in MANY.iter().chain(&ONE).chain([&ALIASED]) {
            let bits = if address.contains(':') { 128 } else { 32 };
            let address = format!("{address}/{bits}");
            run(namespace.command("ip").args(["address", "add", &address, "dev", "lo"]));
        }
        let mut command = namespace.command(TRAFFIC);
        command.args(["dns", "serve", "127.0.0.1:53"]);
        let server = Process::start("name-server", command, directory.path());
        wait::until("the name server to listen", || {
            wait::ensure(server.output().contains("listening"), || server.output())
        });
        Self { namespace, service, directory, _name_server: server }
    }

    /// A program of the service, inside.
    fn command(&self, program: &str) -> Command {
        let mut command = self.service.command("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace.name())).args(["--", program]);
        command
    }

    /// Asks for the addresses of both families, as a resolver does.
    #[track_caller]
    fn resolve(&self, name: &str) {
        let output = self.command("/bin/busybox").args(["nslookup", name, "127.0.0.1"]).output();
        // It fails when a name has no address of one family.
        let output = output.expect("run nslookup");
        assert!(String::from_utf8_lossy(&output.stdout).contains("answer"), "{output:?}");
    }

    #[track_caller]
    fn connect(&self, address: &str, count: u32) {
        run(self.command(TRAFFIC).args(["connect", address, &count.to_string()]));
    }

    #[track_caller]
    fn serve(&self, address: &str) -> Process {
        serve(self.namespace.command(TRAFFIC), address, self.directory.path())
    }
}

#[test]
fn destinations_have_the_names_that_were_asked_for() {
    require!(
        Need::Root,
        Need::Tool("ip"),
        Need::Tool("nsenter"),
        Need::File("/bin/busybox"),
        Need::File("/proc/net/if_inet6"),
        Need::Tool("prometheus")
    );
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let network = Network::new("dns-names");
    let _server = network.serve("[::]:9300");
    for name in ["one.test", "many.test", "alias.test", "never.test", "unknown.test"] {
        network.resolve(name);
    }
    network.connect(&format!("{}:9300", ONE[0]), 3);
    network.connect(&format!("[{}]:9300", ONE[1]), 2);
    network.connect(&format!("{ALIASED}:9300"), 1);
    for (address, count) in MANY.iter().zip([4, 5, 6]) {
        network.connect(&format!("{address}:9300"), count);
    }
    let id = network.service.id();
    let connects = |destination: &str, actual: &str| {
        format!(
            "container_net_tcp_successful_connects_total{{container_id=\"{id}\",\
             destination=\"{destination}\",actual_destination=\"{actual}\"}}"
        )
    };
    let fqdn = |ip: &str, name: &str| format!("ip_to_fqdn{{ip=\"{ip}\",fqdn=\"{name}\"}}");
    let one = format!("{}:9300", ONE[0]);
    prometheus.promql().expect(&[
        (fqdn(ONE[0], "one.test"), 1.0),
        (fqdn(ONE[1], "one.test"), 1.0),
        (fqdn(ALIASED, "alias.test"), 1.0),
        (connects(&one, &one), 3.0),
        // Three public addresses of one name are one destination.
        (connects("many.test:9300", ""), 15.0),
    ]);
    // Whoever has no destination of its own has a round-trip time, which is told by address.
    prometheus.promql().expect(&MANY.map(|ip| (fqdn(ip, "many.test"), 1.0)));
    let metrics = agent.metrics().expect("scrape");
    let own = [("container_id", id)];
    let shown = metrics.select("container_net_tcp_successful_connects_total", &own).len();
    assert_eq!(shown, 4, "two addresses of one name, an alias, and the name of many");
    assert!(metrics.select("ip_to_fqdn", &[("ip", NEVER)]).is_empty(), "nobody connected to it");
}

#[test]
fn round_trip_times_lead_to_the_name_while_they_are_shown() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::File("/bin/busybox"));
    let agent = Sonde::agent().with("--forget-after", "10s").start();
    let network = Network::new("dns-delays");
    let _server = network.serve("0.0.0.0:9300");
    network.resolve("many.test");
    let mut command = network.command(TRAFFIC);
    command.args(["hold", &format!("{}:9300", MANY[1]), "2"]);
    let client = Process::start_with_input("client", command, network.directory.path());
    let labels = [("container_id", network.service.id()), ("destination", "many.test:9300")];
    agent.expect(&[
        ("container_net_tcp_active_connections", &labels, 2.0),
        ("ip_to_fqdn", &[("ip", MANY[1]), ("fqdn", "many.test")], 1.0),
    ]);
    let metrics = agent.metrics().expect("scrape");
    let delay = [("container_id", network.service.id()), ("destination_ip", MANY[1])];
    assert!(metrics.sum("container_net_latency_seconds", &delay) > 0.0, "the address that the name joins");
    assert_eq!(
        metrics.select("ip_to_fqdn", &[("fqdn", "many.test")]).len(),
        1,
        "its others have no such time"
    );
    drop(client);
    agent.expect(&[("container_net_tcp_active_connections", &labels, 0.0)]);
    let metrics = agent.metrics().expect("scrape");
    assert!(metrics.sum("container_net_latency_seconds", &delay) > 0.0, "the last that is known of the way");
    wait::until("the address to have no name", || {
        let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
        let named = metrics.select("ip_to_fqdn", &[("ip", MANY[1])]).len();
        wait::ensure(named == 0, || format!("{named} names"))
    });
}

#[test]
fn failures_belong_to_the_name_too() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::File("/bin/busybox"));
    let agent = Sonde::agent().start();
    let network = Network::new("dns-failures");
    network.resolve("many.test");
    run(network.command(TRAFFIC).args(["refused", &format!("{}:9301", MANY[0]), "2"]));
    run(network.command(TRAFFIC).args(["refused", &format!("{}:9301", MANY[2]), "3"]));
    let labels = [("container_id", network.service.id()), ("destination", "many.test:9301")];
    agent.expect(&[("container_net_tcp_failed_connects_total", &labels, 5.0)]);
}

#[test]
fn answers_over_tcp_are_read() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let agent = Sonde::agent().start();
    let network = Network::new("dns-tcp");
    let _server = network.serve("0.0.0.0:9300");
    run(network.command(TRAFFIC).args(["dns", "ask-tcp", "127.0.0.1:53", "alias.test"]));
    network.connect(&format!("{ALIASED}:9300"), 1);
    agent.expect(&[("ip_to_fqdn", &[("ip", ALIASED), ("fqdn", "alias.test")], 1.0)]);
}

#[test]
fn a_message_that_is_none_harms_nothing() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    let agent = Sonde::agent().start();
    let (namespace, service) = (Netns::new(), ServiceCgroup::new("dns-garbage"));
    let mut command = namespace.command(TRAFFIC);
    command.args(["udp", "sink", "127.0.0.1:9302"]);
    let sink = Process::start("sink", command, directory.path());
    wait::until("the sink to listen", || wait::ensure(sink.output().contains("listening"), || sink.output()));
    let mut command = service.command("nsenter");
    command.arg(format!("--net=/run/netns/{}", namespace.name()));
    run(command.args(["--", TRAFFIC, "dns", "garbage", "127.0.0.1:9302", "40"]));
    agent.expect(&[("sonde_agent_events_total", &[("event", "dns_malformed")], 40.0)]);
}

#[test]
fn without_the_capability_addresses_have_no_names() {
    require!(Need::Root, Need::Tool("setpriv"));
    // CAP_SYS_ADMIN includes it.
    let agent = Sonde::agent().behind(&["setpriv", "--bounding-set", "-net_admin,-sys_admin", "--"]).start();
    let status = agent.status();
    let probes = status["probes"].as_array().expect("a list of probes");
    let probe = probes.iter().find(|probe| probe["name"] == "dns/answers").expect("the probe");
    assert_eq!(probe["verdict"], "broken", "{probe:#}");
    let reason = probe["reason"].as_str().expect("a reason");
    assert!(reason.contains("CAP_NET_ADMIN"), "{reason}");
}

#[test]
fn a_container_that_asks_for_thousands_of_names_costs_others_none() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    /// In all more than the whole table holds; at once fewer than the ring does.
    const ROUNDS: u32 = 6;
    const NAMES: u32 = 100;
    /// `state::NAMES_MAX`.
    const SHARE: f64 = 1024.0;
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let name_server = docker.run("name-server", &[], &["dns", "serve", "0.0.0.0:53"]);
    name_server.wait_for("listening");
    let servers = [(); 2].map(|()| docker.run("named", &[], &["serve", "0.0.0.0:9000"]));
    servers.iter().for_each(|server| server.wait_for("listening"));
    let resolver = format!("{}:53", name_server.ip());
    let [quiet, loud] = ["quiet", "loud"].map(|name| docker.run(name, &[], &["wait"]));
    let name = |server: &Container<'_>| format!("at-{}.test", server.ip().replace('.', "-"));

    quiet.traffic(&["dns", "ask", &resolver, &name(&servers[0])]);
    for round in 0..ROUNDS {
        loud.traffic(&["dns", "flood", &resolver, &(round * NAMES).to_string(), &NAMES.to_string()]);
        // A scrape takes in everything until now.
        agent.metrics().expect("scrape");
    }
    loud.traffic(&["dns", "ask", &resolver, &name(&servers[1])]);
    // Only what is connected to is shown; until then the names had to stay in the table.
    let mut expected = Vec::new();
    for (client, server) in [(&quiet, &servers[0]), (&loud, &servers[1])] {
        client.traffic(&["connect", &format!("{}:9000", server.ip()), "1"]);
        expected.push((format!("ip_to_fqdn{{ip=\"{}\",fqdn=\"{}\"}}", server.ip(), name(server)), 1.0));
    }
    prometheus.promql().expect(&expected);
    let metrics = agent.metrics().expect("scrape");
    let evicted = metrics.value("sonde_agent_names_evicted_total", &[]).expect("the number of names evicted");
    let asked = f64::from(ROUNDS * NAMES * FLOOD);
    assert!(evicted >= asked - SHARE && evicted <= asked + 1.0, "{evicted} of {asked} were evicted");
    for cap in ["container", "node"] {
        let folded = [("table", "names"), ("cap", cap)];
        assert_eq!(
            metrics.value("sonde_agent_series_folded_total", &folded).expect("a counter"),
            0.0,
            "{cap}"
        );
    }
}
