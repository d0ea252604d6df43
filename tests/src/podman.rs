//! Containers of podman, which needs no daemon, and its API service.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::oci;
use crate::process::{Process, run};
use crate::wait;

/// A podman with directories of its own. Its containers end with it, or with the test process.
#[derive(Debug)]
pub struct Podman {
    image: String,
    service: Option<Process>,
    cleaner: Process,
    directory: TempDir,
}

/// Ends the containers: each has a monitor that lives on.
const CLEAN: &str = r#"
trap 'kill "$sleeper"' TERM INT
sleep infinity & sleeper=$!
wait "$sleeper"
podman --root "$ROOT/data" --runroot "$ROOT/run" --tmpdir "$ROOT/tmp" --storage-driver vfs \
    --cgroup-manager cgroupfs --runtime runc rm --all --force --time 0
grep -o " $ROOT/[^ ]*" /proc/mounts | sort -r | xargs -r umount --lazy
rm -rf "${ROOT%/root}"
"#;

/// The defaults of podman are above what a container of tests may be allowed.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

impl Podman {
    /// A podman with an image of `traffic`, and no service yet.
    #[track_caller]
    pub fn new(traffic: &Path) -> Self {
        let directory =
            tempfile::Builder::new().prefix("sonde-podman").tempdir().expect("create a directory");
        let root = directory.path().join("root");
        std::fs::create_dir(&root).expect("create podman's directory");
        let mut command = Command::new("sh");
        command.args(["-c", CLEAN]).env("ROOT", &root);
        let cleaner = Process::start_with("cleaner", command, directory.path(), "TERM", Stdio::null());
        let image = format!("docker.io/library/sonde-tests:{}", std::process::id());
        let podman = Self { image, service: None, cleaner, directory };
        let archive = oci::archive(&podman.image, traffic, podman.directory.path());
        run(podman.command().args(["load", "--quiet", "--input"]).arg(archive));
        podman
    }

    /// Starts the API service and waits until it listens.
    #[track_caller]
    pub fn serve(&mut self) {
        let mut command = self.command();
        command.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", self.socket().display()));
        let service = Process::start("podman", command, self.directory.path());
        let service = self.service.insert(service);
        let socket = self.directory.path().join("podman.sock");
        wait::until("podman's service to listen", || {
            service.assert_running();
            std::os::unix::net::UnixStream::connect(&socket).map(drop)
        });
    }

    /// Where the service listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("podman.sock")
    }

    /// Its list of containers, which it keeps without any service.
    pub fn list(&self) -> PathBuf {
        self.directory.path().join("root/data/vfs-containers/containers.json")
    }

    /// The image of the tests.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Starts a container that does nothing, in the host's network.
    #[track_caller]
    pub fn run(&self, name: &str) -> Container<'_> {
        let mut command = self.command();
        command.args(["run", "--detach", "--network", "host", "--name", name]).args(LIMITS).arg(&self.image);
        let id = run(&mut command);
        Container { podman: self, id }
    }

    /// Runs `traffic` in a container to its end; no service is needed.
    #[track_caller]
    pub fn traffic(&self, id: &str, arguments: &[&str]) -> String {
        run(self.command().args(["exec", id, "/bin/traffic"]).args(arguments))
    }

    fn command(&self) -> Command {
        let root = self.directory.path().join("root");
        let mut command = Command::new("podman");
        command.arg("--root").arg(root.join("data")).arg("--runroot").arg(root.join("run"));
        command.arg("--tmpdir").arg(root.join("tmp")).args(["--storage-driver", "vfs"]);
        command.args(["--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.service = None;
        // One that does not end in time is no reason to abort a test that is failing already.
        let _ = catch_unwind(AssertUnwindSafe(|| self.cleaner.terminate()));
    }
}

/// A running container.
#[derive(Debug)]
pub struct Container<'p> {
    podman: &'p Podman,
    id: String,
}

impl Container<'_> {
    /// Its id: 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs `traffic` inside to its end.
    #[track_caller]
    pub fn traffic(&self, arguments: &[&str]) -> String {
        self.podman.traffic(&self.id, arguments)
    }

    /// Leaves it to podman's end, and returns its id.
    pub fn leave(self) -> String {
        self.id
    }
}
