//! What systemd says of services: a real one over its own socket, a stand-in over a real bus, and what
//! `--hide-system-services` leaves.

mod manager;
mod stand_in;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use sonde_tests::made_up::MadeUp;
use sonde_tests::process::Process;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use manager::Manager;

/// Name of a unit, its type, and the units that trigger it.
type Unit = (&'static str, &'static str, &'static [&'static str]);

const CONTAINER: &str = "docker/5d0c7a1b2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";

/// What systemd knows; of `gone.service` it knows nothing.
const UNITS: [Unit; 8] = [
    ("web.service", "notify", &[]),
    ("shop@eu.service", "forking", &[]),
    ("echo.service", "simple", &["other.socket", "echo.socket"]),
    ("backup.service", "simple", &["backup.timer"]),
    ("cleanup.service", "oneshot", &[]),
    ("upower.service", "dbus", &[]),
    ("systemd-journald.service", "notify", &[]),
    ("my-\\x2dapp.service", "exec", &[]),
];

/// Services beside those, of which systemd says nothing.
const UNKNOWN: [&str; 2] = ["gone.service", "getty@tty1.service"];

/// A machine with a process in each service, and in a container.
fn machine() -> MadeUp {
    let machine = MadeUp::new(&[("cgroup2", "", "nsdelegate")]);
    machine.cgroup("cgroup.controllers", "cpu memory pids\n");
    let services = UNITS.iter().map(|unit| unit.0).chain(UNKNOWN).map(|unit| format!("system.slice/{unit}"));
    for (path, pid) in services.chain([CONTAINER.to_owned()]).zip(1000..) {
        machine.cgroup(&format!("{path}/cpu.stat"), "usage_usec 1000000\n");
        machine.process(pid, &format!("0::/{path}\n"), "40 30 0:40 / / rw - tmpfs tmpfs rw\n");
    }
    machine
}

/// Waits until Prometheus has what systemd says of every service, and no more than that.
#[track_caller]
fn expect_info(prometheus: &Tsdb) {
    let info = |id: &str, kind: &str, trigger: &str| {
        let labels = format!("systemd_type=\"{kind}\",systemd_triggered_by=\"{trigger}\",image=\"\"");
        (format!("container_info{{container_id=\"/system.slice/{id}\",{labels}}}"), 1.0)
    };
    prometheus.promql().expect(&[
        info("web.service", "notify", ""),
        info("shop@eu.service", "forking", ""),
        info("echo.service", "simple", "echo.socket"),
        info("backup.service", "simple", "backup.timer"),
        info("cleanup.service", "oneshot", ""),
        info("upower.service", "dbus", ""),
        info("systemd-journald.service", "notify", ""),
        info("my--app.service", "exec", ""),
        ("count(container_info)".to_owned(), UNITS.len() as f64),
        // Those of which systemd says nothing are measured all the same.
        (usage("/system.slice/gone.service"), 1.0),
    ]);
}

fn usage(container_id: &str) -> String {
    format!("container_resources_cpu_usage_seconds_total{{container_id=\"{container_id}\"}}")
}

/// What `/status` says of systemd.
#[track_caller]
fn expect_connected(agent: &Sonde, socket: &Path) {
    wait::until("the state of systemd in /status", || {
        let systemd = agent.status()["names"]["systemd"].clone();
        let expected = serde_json::json!({ "state": "connected", "socket": socket.display().to_string() });
        wait::equal(systemd, expected)
    });
}

#[test]
fn services_have_their_type_and_trigger_by_systemds_own_socket() {
    let [systemd, systemctl, unshare, mount] = manager::NEEDS;
    require!(Need::Root, Need::Tool("prometheus"), systemd, systemctl, unshare, mount);
    let machine = machine();
    let socket = machine.host_path("run/systemd/private");
    let _manager = Manager::start(&machine.host_path("run"), &UNITS);
    let agent = machine.agent().start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    expect_info(&prometheus);
    expect_connected(&agent, &socket);
}

#[test]
fn services_have_their_type_and_trigger_by_a_real_bus() {
    require!(
        Need::Root,
        Need::Tool("dbus-daemon"),
        Need::Tool("unshare"),
        Need::Tool("mount"),
        Need::Tool("prometheus")
    );
    let machine = machine();
    let socket = machine.host_path("run/dbus/system_bus_socket");
    let _bus = bus(&socket);
    stand_in::join(&socket, &UNITS);
    // A systemd of this machine would be asked first.
    let directory = tempfile::tempdir().expect("create a directory");
    let script = format!(
        "[ ! -d /run/systemd ] || mount --bind '{}' /run/systemd; exec \"$0\" \"$@\"",
        directory.path().display()
    );
    let agent = machine.agent().behind(&["unshare", "--mount", "sh", "-c", &script]).start();
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    expect_info(&prometheus);
    expect_connected(&agent, &socket);
}

/// Starts a bus and waits until it listens.
#[track_caller]
fn bus(socket: &Path) -> Process {
    let directory = socket.parent().expect("a socket stands in a directory");
    let file = directory.join("bus.conf");
    let config = format!(
        "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context='default'>\
         <allow own='*'/><allow send_destination='*'/><allow receive_sender='*'/></policy></busconfig>",
        socket.display()
    );
    std::fs::write(&file, config).expect("write the configuration of the bus");
    let mut command = Command::new("dbus-daemon");
    command.args(["--nofork", "--nopidfile", &format!("--config-file={}", file.display())]);
    let mut bus = Process::start("bus", command, directory);
    wait::until("the bus to listen", || {
        bus.assert_running();
        std::os::unix::net::UnixStream::connect(socket).map(drop)
    });
    bus
}

/// Waits until exactly these containers and services are shown.
#[track_caller]
fn expect_shown(agent: &Sonde, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|id| (*id).to_owned()).collect();
    let shown = || {
        let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
        let ids = metrics.samples.iter().filter_map(|sample| sample.labels.get("container_id").cloned());
        Ok::<BTreeSet<String>, String>(ids.collect())
    };
    wait::until("what is shown", || wait::equal(shown()?, expected.clone()));
    crate::node::fresh(agent);
    assert_eq!(shown(), Ok(expected), "in a later snapshot");
}

#[test]
fn system_services_are_hidden_when_asked_for() {
    let [systemd, systemctl, unshare, mount] = manager::NEEDS;
    require!(Need::Root, systemd, systemctl, unshare, mount);
    const HIDDEN_BY_NAME: [&str; 2] =
        ["/system.slice/getty@tty1.service", "/system.slice/systemd-journald.service"];
    const HIDDEN_BY_SYSTEMD: [&str; 3] =
        ["/system.slice/backup.service", "/system.slice/cleanup.service", "/system.slice/upower.service"];
    const SERVICES: [&str; 6] = [
        "/docker/5d0c7a1b2e3f",
        "/system.slice/web.service",
        "/system.slice/shop@eu.service",
        "/system.slice/echo.service",
        "/system.slice/gone.service",
        "/system.slice/my--app.service",
    ];
    let machine = machine();
    let _manager = Manager::start(&machine.host_path("run"), &UNITS);
    expect_shown(&machine.agent().start(), &[&SERVICES[..], &HIDDEN_BY_NAME, &HIDDEN_BY_SYSTEMD].concat());
    expect_shown(&machine.agent().with_env("SONDE_HIDE_SYSTEM_SERVICES", "true").start(), &SERVICES);
}
