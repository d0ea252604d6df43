//! The image in docker, with what the manifest gives it and nothing more.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use sonde_tests::exposition::Exposition;
use sonde_tests::process::{free_address, product};
use sonde_tests::skip::Need;
use sonde_tests::{http, require, skip, wait};

use crate::support::docker;

/// Capabilities as the manifest lists them: the test runs what users are told to run.
fn capabilities() -> Vec<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sonde/daemonset.yaml");
    let manifest = std::fs::read_to_string(manifest).expect("read the manifest");
    let list = manifest.split_once("add:\n").expect("the manifest adds capabilities").1;
    let names = list.lines().map_while(|line| {
        let entry = line.trim_start();
        if entry.starts_with('#') { Some(None) } else { entry.strip_prefix("- ").map(Some) }
    });
    names.flatten().map(|entry| entry.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// What this docker takes for the listed capabilities. Before version 23 it does not know the two newest by name;
/// the kernel accepts SYS_ADMIN, which they were cut out of, in place of either.
fn named_for_docker(capabilities: Vec<String>, version: &str) -> Vec<String> {
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(u32::MAX);
    if major >= 23 {
        return capabilities;
    }
    let old = capabilities.into_iter().filter(|name| !["BPF", "PERFMON"].contains(&name.as_str()));
    old.chain(["SYS_ADMIN".to_owned()]).collect()
}

#[test]
fn an_old_docker_gets_the_capability_that_it_knows() {
    let listed = || ["BPF", "PERFMON", "SYSLOG"].map(String::from).to_vec();
    assert_eq!(named_for_docker(listed(), "20.10.24+dfsg1"), ["SYSLOG", "SYS_ADMIN"]);
    assert_eq!(named_for_docker(listed(), "28.2.2"), listed());
}

/// With the listed capabilities a feature works, is off unless asked for, or is the one that says of itself that it
/// needs CAP_SYS_ADMIN.
fn is_expected(name: &serde_json::Value, verdict: &serde_json::Value) -> bool {
    verdict == "ok" || verdict == "disabled" || name == "net/namespaces" && verdict == "unsupported"
}

#[test]
fn the_listed_capabilities_suffice_for_every_feature() {
    require!(Need::Root, Need::Tool("setpriv"));
    let listed: Vec<String> = capabilities().iter().map(|name| format!("+{}", name.to_lowercase())).collect();
    let mut doctor = Command::new("setpriv");
    doctor.arg(format!("--bounding-set=-all,{}", listed.join(","))).arg("--");
    let output =
        doctor.arg(product("sonde-agent")).args(["doctor", "--json"]).output().expect("start the doctor");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let probes = report["probes"].as_array().expect("the report lists probes");
    let is_right = |probe: &serde_json::Value| is_expected(&probe["name"], &probe["verdict"]);
    assert!(!probes.is_empty() && probes.iter().all(is_right), "{report:#}");
    assert_eq!(report["missing_capabilities"], serde_json::json!([]), "the doctor needs no other");
}

/// The archive: from `SONDE_IMAGE`, else where `cargo xtask image` puts it.
fn archive() -> PathBuf {
    std::env::var_os("SONDE_IMAGE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/sonde-agent-image.tar")),
        PathBuf::from,
    )
}

fn scrape(address: SocketAddr) -> anyhow::Result<Exposition> {
    Exposition::parse(&http::get(address, "/metrics", &[])?.text())
}

#[test]
fn the_image_observes_the_node_with_listed_capabilities_and_a_read_only_root() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let archive = archive();
    if !archive.exists() {
        return skip::record("the image is not built: cargo xtask image");
    }
    let docker = docker();
    let loaded = docker.command(&["load", "--input", &archive.display().to_string()]);
    let image = loaded.rsplit(' ').next().expect("docker names what it loaded").to_owned();
    let address = free_address();
    let capabilities = capabilities();
    assert!(capabilities.iter().any(|name| name == "BPF"), "{capabilities:?}");
    let version = docker.command(&["version", "--format", "{{.Server.Version}}"]);
    let capabilities = named_for_docker(capabilities, &version);
    let mut options = vec!["--pid=host", "--network=host", "--read-only", "--cap-drop=ALL"];
    let added: Vec<String> = capabilities.iter().map(|name| format!("--cap-add={name}")).collect();
    options.extend(added.iter().map(String::as_str));
    options.extend(["--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"]);
    options.extend(["--volume=/sys/fs/cgroup:/sys/fs/cgroup:ro"]);
    // The runtime's socket is reached through /proc/1/root; where even root may not go there (PID 1 of some
    // virtual machines), it is mounted.
    if std::fs::metadata("/proc/1/root/run").is_err() {
        options.push("--volume=/run/docker.sock:/run/docker.sock");
    }
    let listen = address.to_string();
    let agent = docker.run_image("agent", &options, &image, &["run", "--listen", &listen]);
    wait::until("the agent to be ready", || {
        let answer = http::get(address, "/readyz", &[]).map_err(|error| format!("{error:#}"))?;
        wait::ensure(answer.status == 200, || answer.text())
    });

    let server = docker.run("server", &[], &["serve", "0.0.0.0:9000"]);
    server.wait_for("listening");
    let client = docker.run("client", &["--memory", "64m"], &["wait"]);
    let destination = format!("{}:9000", server.ip());
    client.traffic(&["connect", &destination, "6"]);
    let (id, server_id) = (client.id(), server.id());
    for (name, labels, expected) in [
        ("container_net_tcp_successful_connects_total", vec![("destination", destination.as_str())], 6.0),
        ("container_resources_memory_limit_bytes", vec![], 67_108_864.0),
        ("container_info", vec![("image", docker.image())], 1.0),
    ] {
        wait::until(&format!("{name} to be {expected}"), || {
            let labels: Vec<_> = labels.iter().copied().chain([("container_id", id.as_str())]).collect();
            let value = scrape(address).and_then(|metrics| metrics.value(name, &labels));
            wait::equal(value.map_err(|error| format!("{error:#}"))?, expected)
        });
    }
    let metrics = scrape(address).expect("scrape");
    let listener = [("container_id", server_id.as_str()), ("listen_addr", destination.as_str())];
    assert_eq!(metrics.value("container_net_tcp_listen_info", &listener).expect("the listener"), 1.0);
    let bad: Vec<_> = metrics
        .select("sonde_agent_probe_state", &[])
        .into_iter()
        .filter(|sample| {
            let [probe, verdict] = ["probe", "verdict"].map(|name| sample.labels[name].as_str().into());
            sample.value > 0.0 && !is_expected(&probe, &verdict)
        })
        .collect();
    assert!(bad.is_empty(), "with all listed capabilities every probe works: {bad:?}");
    docker.command(&["kill", "--signal", "TERM", agent.name()]);
    wait::until("the agent's end", || {
        wait::equal(agent.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 0".to_owned())
    });
}
