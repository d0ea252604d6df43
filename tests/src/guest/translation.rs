//! Where connections really lead, by the connection tracking of the guest's kernel: rules of nftables, and IPVS as
//! kube-proxy sets it up.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tests::{SELF, count, serve_on};
use super::{Agent, check};
use crate::nat::Nat;
use crate::process::run;
use crate::traffic::{self, REPLY_BYTES};

const CONNECTS: u64 = 5;
const BYTES: u64 = 70_001;
/// An address that no interface has until a test gives it to the loopback.
const SERVICE_V6: &str = "fd00:77::1";
/// As kube-proxy binds every service's address to an interface of its own.
const VIRTUAL: &str = "10.96.0.10";

/// All of them.
pub(super) fn run_all(agent: &Agent) {
    check("connection_tracking_answers", || answers(agent));
    check("rules_of_nftables_lead_to_backends", || nftables(agent));
    check("ipvs_leads_to_backends", || ipvs(agent));
    check("what_ipvs_does_not_track_is_told_as_asked", || untracked(agent));
}

fn answers(agent: &Agent) -> Result<()> {
    let status = agent.status()?;
    let probes = status["probes"].as_array().context("/status has no list `probes`")?;
    let probe =
        probes.iter().find(|probe| probe["name"] == "net/translation").context("no net/translation")?;
    ensure!(probe["choice"] == "netlink/conntrack", "it is {probe}");
    Ok(())
}

fn nftables(agent: &Agent) -> Result<()> {
    run(Command::new("/bin/busybox").args([
        "ip",
        "address",
        "add",
        &format!("{SERVICE_V6}/128"),
        "dev",
        "lo",
    ]));
    for (ip, to) in [("127.77.0.1", "127.0.0.1"), (SERVICE_V6, "::1")] {
        let backend = serve_on(to)?;
        let service = SocketAddr::new(ip.parse()?, 8080);
        let _rules = Nat::here().output(&service.to_string(), &backend.to_string());
        exchange(service)?;
        leads(agent, service, backend)?;
    }
    Ok(())
}

fn ipvs(agent: &Agent) -> Result<()> {
    give_virtual_address();
    // As with kube-proxy: its rules make the kernel track, which IPVS alone does not, and this makes IPVS tell.
    let _rules = Nat::here().tracking();
    fs::write("/proc/sys/net/ipv4/vs/conntrack", "1").context("let IPVS track connections")?;
    let backend = serve_on("127.0.0.5")?;
    let service = SocketAddr::new(VIRTUAL.parse()?, 443);
    let _balanced = Balanced::new(service, backend);
    exchange(service)?;
    leads(agent, service, backend)
}

/// The limit of what can be known: without its entry in the table, the connection leads where it was opened to.
fn untracked(agent: &Agent) -> Result<()> {
    give_virtual_address();
    let _rules = Nat::here().tracking();
    fs::write("/proc/sys/net/ipv4/vs/conntrack", "0").context("let IPVS track nothing")?;
    let backend = serve_on("127.0.0.6")?;
    let service = SocketAddr::new(VIRTUAL.parse()?, 444);
    let _balanced = Balanced::new(service, backend);
    exchange(service)?;
    leads(agent, service, service)
}

fn give_virtual_address() {
    // It may have it already.
    let address = format!("{VIRTUAL}/32");
    let _ = Command::new("/bin/busybox").args(["ip", "address", "add", &address, "dev", "lo"]).output();
}

fn exchange(service: SocketAddr) -> Result<()> {
    traffic::connect(service, CONNECTS)?;
    traffic::send(service, BYTES)
}

/// All of [`exchange`] is counted for this pair of addresses, and nothing of it for another one.
fn leads(agent: &Agent, service: SocketAddr, actual: SocketAddr) -> Result<()> {
    let (service, actual) = (service.to_string(), actual.to_string());
    let labels = [SELF, ("destination", service.as_str()), ("actual_destination", actual.as_str())];
    let connections = CONNECTS + 1;
    let received = count(connections * u64::from(REPLY_BYTES));
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &labels, count(connections)),
        ("container_net_tcp_bytes_sent_total", &labels, count(BYTES)),
        ("container_net_tcp_bytes_received_total", &labels, received),
        ("container_net_tcp_active_connections", &labels, 0.0),
    ]);
    let metrics = agent.metrics()?;
    let pairs = metrics.select("container_net_tcp_successful_connects_total", &labels[..2]);
    ensure!(pairs.len() == 1, "it leads to more than one place: {pairs:?}");
    let failed = metrics.value("sonde_agent_translations_total", &[("result", "failed")])?;
    ensure!(failed == 0.0, "the table did not answer {failed} times");
    Ok(())
}

/// A service of IPVS with one backend, reached by masquerading; gone with its guard.
struct Balanced(String);

impl Balanced {
    #[track_caller]
    fn new(service: SocketAddr, backend: SocketAddr) -> Self {
        let balanced = Self(service.to_string());
        let service = &balanced.0;
        run(Command::new("ipvsadm").args(["--add-service", "--tcp-service", service, "--scheduler", "rr"]));
        let backend = backend.to_string();
        let server = ["--tcp-service", service, "--real-server", &backend, "--masquerading"];
        run(Command::new("ipvsadm").arg("--add-server").args(server));
        balanced
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        let _ = Command::new("ipvsadm").args(["--delete-service", "--tcp-service", &self.0]).output();
    }
}
