//! A real systemd, as the manager of a user: it speaks the same D-Bus over the same kind of socket as that of the machine.
//!
//! It loads units and starts nothing. Its groups are below one of its own, and it sees nothing of the machine's /run.

use std::fs;
use std::path::Path;
use std::process::Command;

use sonde_tests::cgroup::ServiceCgroup;
use sonde_tests::process::Process;
use sonde_tests::skip::Need;
use sonde_tests::wait;

use super::Unit;

/// What it takes.
pub const NEEDS: [Need; 4] = [
    Need::File("/lib/systemd/systemd"),
    Need::Tool("systemctl"),
    Need::Tool("unshare"),
    Need::Tool("mountpoint"),
];

/// Of v1 only the hierarchies of its own group may be mounted: it makes groups in all that it sees. It also wants to see
/// that the machine runs systemd, which it tells by a directory.
const SCRIPT: &str = r#"
for mount in /sys/fs/cgroup/*/; do
    case $mount in */systemd/|*/unified/) continue;; esac
    mountpoint -q "$mount" && { umount "$mount" || exit 1; }
done
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec /lib/systemd/systemd --user --log-target=console
"#;

/// A running manager; ends when dropped.
#[derive(Debug)]
pub struct Manager {
    _process: Process,
    _group: ServiceCgroup,
    _units: tempfile::TempDir,
}

impl Manager {
    /// Starts one that listens on `<run>/systemd/private`, and waits until it has loaded the units.
    #[track_caller]
    pub fn start(run: &Path, units: &[Unit]) -> Self {
        let directory = tempfile::tempdir().expect("create a directory for units");
        units.iter().for_each(|unit| write(directory.path(), unit));
        let wanted: Vec<&str> =
            units.iter().flat_map(|(name, _, by)| [*name].into_iter().chain(by.iter().copied())).collect();
        let target = format!("[Unit]\nDefaultDependencies=no\nWants={}\n", wanted.join(" "));
        fs::write(directory.path().join("default.target"), target).expect("write a target");
        fs::create_dir_all(run).expect("create a directory for sockets");

        let group = ServiceCgroup::new("sonde-systemd");
        let mut command = group.command("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT]);
        command.env("XDG_RUNTIME_DIR", run).env("SYSTEMD_UNIT_PATH", directory.path());
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
        let mut process = Process::start("systemd", command, directory.path());
        wait::until("systemd to load its units", || {
            process.assert_running();
            let mut systemctl = Command::new("systemctl");
            systemctl.args(["--user", "is-active", "default.target"]).env("XDG_RUNTIME_DIR", run);
            systemctl.env_remove("DBUS_SESSION_BUS_ADDRESS");
            let output = systemctl.output().expect("start systemctl");
            wait::ensure(output.status.success(), || format!("{output:?}"))
        });
        Self { _process: process, _group: group, _units: directory }
    }
}

/// A unit whose condition never holds, and those that trigger it.
fn write(directory: &Path, (name, kind, triggers): &Unit) {
    const NEVER: &str = "[Unit]\nDefaultDependencies=no\nConditionPathExists=/nonexistent\n";
    let bus_name = if *kind == "dbus" { "BusName=org.example.Unit\n" } else { "" };
    let service = format!("{NEVER}[Service]\nType={kind}\n{bus_name}ExecStart=/bin/true\n");
    fs::write(directory.join(name), service).expect("write a service");
    for trigger in *triggers {
        let section = match trigger.rsplit_once('.') {
            Some((_, "timer")) => format!("[Timer]\nOnActiveSec=1h\nUnit={name}\n"),
            Some((_, "socket")) => format!("[Socket]\nListenFIFO=%t/%N\nService={name}\n"),
            _ => panic!("{trigger} is neither a timer nor a socket"),
        };
        fs::write(directory.join(trigger), format!("{NEVER}{section}")).expect("write a trigger");
    }
}
