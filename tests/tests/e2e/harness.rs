//! The harness against the real servers: what it says about the product can be believed.

use sonde_tests::docker::{NoDocker, SOCKET};
use sonde_tests::netns::Netns;
use sonde_tests::process::run;
use sonde_tests::promql::unix_seconds;
use sonde_tests::remote_write::{push, series};
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, skip, wait};

use crate::support::{TRAFFIC, docker, serve, traffic};

/// Both servers take a sample, keep it over a restart, and give it back raw.
fn keeps_samples(kind: Kind) {
    let mut server = Tsdb::start(kind);
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds fit")]
    let now = (unix_seconds() * 1000.0) as i64;
    let samples = [(now - 2000, 1.0), (now - 1000, 2.5), (now, 4.0)];
    let answer =
        push(server.address(), vec![series(&[("__name__", "harness"), ("x", "y")], &samples)]).expect("push");
    assert_eq!(answer.status, 204, "{}", answer.text());
    server.stop();
    assert!(push(server.address(), vec![]).is_err(), "a stopped server must refuse connections");
    server.resume();
    wait::until("the samples", || {
        let found = server.promql().series("harness{x=\"y\"}[1m]").map_err(|error| format!("{error:#}"))?;
        wait::equal(found.first().map(|series| series.samples.clone()), Some(samples.to_vec()))
    });
}

#[test]
fn prometheus_keeps_samples() {
    require!(Need::Tool("prometheus"));
    keeps_samples(Kind::Prometheus);
}

#[test]
fn victoria_metrics_keeps_samples() {
    require!(Need::Tool("victoria-metrics"));
    keeps_samples(Kind::VictoriaMetrics);
}

#[test]
fn containers_reach_each_other_in_exact_numbers() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let docker = docker();
    let server = docker.run("server", &[], &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let client = docker.run("client", &["--memory", "64m"], &["wait"]);
    let address = format!("{}:9000", server.ip());
    assert_eq!(client.traffic(&["connect", &address, "5"]), "connected 5");
    assert_eq!(client.traffic(&["send", &address, "1000003"]), "sent 1000003");
    assert_eq!(client.traffic(&["refused", &format!("{}:9001", server.ip()), "3"]), "refused 3");
    assert_eq!(client.id(), format!("/docker/{}", client.name()));
}

#[test]
fn without_docker_nobody_serves_its_socket() {
    require!(Need::Root, Need::Tool("dockerd"));
    match NoDocker::claim() {
        Ok(_alone) => assert!(std::os::unix::net::UnixStream::connect(SOCKET).is_err()),
        Err(reason) => skip::record(&reason),
    }
}

#[test]
fn a_namespace_is_separate_and_goes_with_its_guard() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("nsenter"));
    let namespace = Netns::new();
    let directory = tempfile::tempdir().unwrap();
    let _server = serve(namespace.command(TRAFFIC), "127.0.0.1:9000", directory.path());
    run(namespace.command(TRAFFIC).args(["connect", "127.0.0.1:9000", "1"]));
    run(&mut traffic(&["refused", "127.0.0.1:9000", "1"]));
    let file = std::path::PathBuf::from(format!("/run/netns/{}", namespace.name()));
    assert!(file.exists());
    drop(namespace);
    assert!(!file.exists());
}
