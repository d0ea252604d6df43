//! A container of LXC, which has no daemon to ask.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::oci;
use crate::process::{Process, run};
use crate::wait;

/// Runs the container, ends it when told to, and leaves nothing: LXC parks its monitor in a group of its own at the end, and
/// keeps its locks. What an LXC has said that ended by itself stays until the test has shown it.
const RUN: &str = r#"
trap 'asked=1' TERM INT
lxc-start --lxcpath "$ROOT" --name "$NAME" --foreground & monitor=$!
wait
lxc-stop --lxcpath "$ROOT" --name "$NAME" --kill || { [ -z "$asked" ] || kill -KILL "$monitor"; }
wait
rmdir /sys/fs/cgroup/lxc.pivot /sys/fs/cgroup/*/lxc.pivot 2>/dev/null
rm -rf "$ROOT" "/run/lxc/lock$ROOT"
rmdir "/run/lxc/lock${ROOT%/*}"
[ -z "$asked" ] || rm -rf "${ROOT%/*}"
"#;

/// A running container in the host's network. It ends with its value, or with the test process.
#[derive(Debug)]
pub struct Lxc {
    name: String,
    process: Process,
    directory: TempDir,
}

impl Lxc {
    /// Starts a container that waits; its image is made of `traffic`.
    #[track_caller]
    pub fn start(name: &str, traffic: &Path) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let directory = tempfile::Builder::new().prefix("sonde-lxc").tempdir().expect("create a directory");
        let lxcpath = directory.path().join("lxc");
        std::fs::create_dir_all(lxcpath.join(&name)).expect("create the container's directory");
        let root = oci::root(traffic, directory.path());
        for mount_point in ["dev", "proc", "sys"] {
            std::fs::create_dir(root.join(mount_point)).expect("create a mount point");
        }
        let config = format!(
            "lxc.rootfs.path = dir:{}\nlxc.net.0.type = none\nlxc.init.cmd = /bin/traffic wait\n\
             lxc.apparmor.profile = unchanged\n",
            root.display()
        );
        std::fs::write(lxcpath.join(&name).join("config"), config)
            .expect("write the container's configuration");
        let mut command = Command::new("sh");
        command.args(["-c", RUN]).env("ROOT", &lxcpath).env("NAME", &name);
        let process = Process::start_with("lxc", command, directory.path(), "TERM", Stdio::null());
        let mut lxc = Self { name, process, directory };
        wait::until("the container to run", || {
            lxc.process.assert_running();
            let info = lxc.command("lxc-info").arg("--state").output().expect("start lxc-info");
            let said = String::from_utf8_lossy(&info.stdout).into_owned();
            wait::ensure(said.contains("RUNNING"), || said)
        });
        lxc
    }

    /// The label that the agent gives it.
    pub fn id(&self) -> String {
        format!("/lxc/{}", self.name)
    }

    /// Runs `traffic` inside to its end.
    #[track_caller]
    pub fn traffic(&self, arguments: &[&str]) -> String {
        run(self.command("lxc-attach").args(["--", "/bin/traffic"]).args(arguments))
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command.arg("--lxcpath").arg(self.directory.path().join("lxc")).args(["--name", &self.name]);
        command
    }
}

impl Drop for Lxc {
    fn drop(&mut self) {
        // One that does not end in time is no reason to abort a test that is failing already.
        let _ = catch_unwind(AssertUnwindSafe(|| self.process.terminate()));
    }
}
