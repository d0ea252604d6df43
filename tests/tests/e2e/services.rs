//! Services behind a socket load balancer: the address asked for and the one connected to are both told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::docker::Container;
use sonde_tests::netns::Netns;
use sonde_tests::process::run;
use sonde_tests::product::Sonde;
use sonde_tests::require;
use sonde_tests::rewrite::Rewrite;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};

use crate::support::{TRAFFIC, docker, serve};

fn rewrite(cgroup: &Path, service: &str, backend: &str) -> Rewrite {
    let [service, backend] =
        [service, backend].map(|address| address.parse::<SocketAddr>().expect("an address"));
    Rewrite::attach(cgroup, service, backend).expect("attach a program that rewrites addresses")
}

#[test]
fn a_service_is_the_destination_and_its_backend_the_actual_one() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let directory = tempfile::tempdir().expect("create a directory");
    // Connected to nothing: an address that is not rewritten leads nowhere.
    let namespace = Netns::new();
    let group = ServiceCgroup::new("sonde-services");
    let agent = Sonde::agent().start();
    for (service, backend, closed, gone) in [
        ("192.0.2.10:443", "127.0.0.1:7300", "192.0.2.11:443", "127.0.0.1:7309"),
        ("[2001:db8::10]:443", "[::1]:7301", "[2001:db8::11]:443", "[::1]:7309"),
    ] {
        let _server = serve(namespace.command(TRAFFIC), backend, directory.path());
        let _rewrites = [rewrite(group.unified(), service, backend), rewrite(group.unified(), closed, gone)];
        let client = |arguments: &[&str]| {
            let enter = format!("--net=/run/netns/{}", namespace.name());
            run(group.command("nsenter").args([&enter, "--", TRAFFIC]).args(arguments));
        };
        client(&["connect", service, "5"]);
        client(&["send", service, "70001"]);
        client(&["refused", closed, "3"]);
        client(&["connect", backend, "2"]);
        let owner = ("container_id", group.id());
        let asked = [owner, ("destination", service), ("actual_destination", backend)];
        let direct = [owner, ("destination", backend), ("actual_destination", backend)];
        let failed = [owner, ("destination", closed), ("reason", "refused")];
        agent.expect(&[
            ("container_net_tcp_successful_connects_total", &asked, 6.0),
            ("container_net_tcp_bytes_sent_total", &asked, 70_001.0),
            ("container_net_tcp_connect_failures_total", &failed, 3.0),
            ("container_net_tcp_successful_connects_total", &direct, 2.0),
        ]);
    }
}

/// A container's directory on the unified hierarchy.
fn unified(container: &Container<'_>) -> PathBuf {
    let groups =
        std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("read its cgroups");
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).expect("a unified hierarchy");
    let root = Path::new("/sys/fs/cgroup");
    let mount = if root.join("cgroup.controllers").exists() { root.to_owned() } else { root.join("unified") };
    mount.join(path)
}

#[test]
fn a_containers_services_are_told_apart_by_prometheus() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"), Need::Tool("prometheus"));
    let docker = docker();
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let server = docker.run("server", &[], &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let client = docker.run("client", &[], &["wait"]);
    // On the loopback of the container: if nothing rewrote them, nobody else would be asked.
    let services = ["127.0.0.5:443", "127.0.0.6:443"];
    let backend = format!("{}:9000", server.ip());
    let _rewrites = services.map(|service| rewrite(&unified(&client), service, &backend));
    client.traffic(&["connect", services[0], "7"]);
    client.traffic(&["send", services[1], "12345"]);
    let id = client.id();
    let name = |metric: &str, labels: &str| {
        format!(
            "container_net_tcp_{metric}{{container_id=\"{id}\",actual_destination=\"{backend}\"{labels}}}"
        )
    };
    let to = |service: &str| format!(",destination=\"{service}\"");
    prometheus.promql().expect(&[
        (name("successful_connects_total", &to(services[0])), 7.0),
        (name("successful_connects_total", &to(services[1])), 1.0),
        (name("bytes_sent_total", &to(services[1])), 12_345.0),
        (format!("count({})", name("successful_connects_total", "")), 2.0),
    ]);
}
