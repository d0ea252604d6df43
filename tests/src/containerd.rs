//! A private containerd with its CRI plugin, started by hand: its own directories and socket, and no network of its own.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::cri::Cri;
use crate::oci;
use crate::process::{Process, run};
use crate::wait;

/// A containerd that can be stopped and started again; its containers go on meanwhile. At its end, or at that of the test
/// process, they go too.
#[derive(Debug)]
pub struct Containerd {
    image: String,
    process: Option<Process>,
    cleaner: Process,
    directory: TempDir,
}

/// Ends what a containerd leaves behind: shims live on by design, and so do their containers.
const CLEAN: &str = r#"
trap 'kill "$sleeper"' TERM INT
sleep infinity & sleeper=$!
wait "$sleeper"
ids=$(ls "$ROOT"/state/io.containerd.runtime.v2.task/*/ | grep -E '^[0-9a-f]{64}$')
for shim in $(pgrep -f -- "-address $ROOT/"); do
    pkill -KILL -P "$shim"
    kill -KILL "$shim"
done
grep -o " $ROOT/[^ ]*" /proc/mounts | sort -r | xargs -r umount --lazy
for id in $ids; do
    for try in $(seq 50); do
        left=$(find /sys/fs/cgroup -depth -type d -name "$id")
        [ -z "$left" ] && break
        rmdir $left 2>/dev/null || sleep 0.1
    done
done
rm -rf "${ROOT%/root}"
"#;

impl Containerd {
    /// Starts a containerd and gives it an image with `traffic`, in both of the namespaces that tests use.
    #[track_caller]
    pub fn start(traffic: &Path) -> Self {
        let directory =
            tempfile::Builder::new().prefix("sonde-containerd").tempdir().expect("create a directory");
        let root = directory.path().join("root");
        fs::create_dir(&root).expect("create containerd's directory");
        let image = format!("docker.io/library/sonde-tests:{}", std::process::id());
        fs::write(root.join("config.toml"), config(&root, &image)).expect("write containerd's configuration");
        let mut command = Command::new("sh");
        command.args(["-c", CLEAN]).env("ROOT", &root);
        let cleaner = Process::start_with("cleaner", command, directory.path(), "TERM", Stdio::null());
        let mut containerd = Self { image, process: None, cleaner, directory };
        containerd.resume();
        let archive = oci::archive(&containerd.image, traffic, containerd.directory.path());
        for namespace in ["default", "k8s.io"] {
            let archive = archive.to_str().expect("temporary directories have plain names");
            containerd.ctr(namespace, &["images", "import", "--snapshotter", "native", archive]);
        }
        containerd
    }

    /// Starts it again after [`Containerd::stop`].
    #[track_caller]
    pub fn resume(&mut self) {
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.root().join("config.toml"));
        let process =
            Process::start_with("containerd", command, self.directory.path(), "TERM", Stdio::null());
        let process = self.process.insert(process);
        let socket = self.directory.path().join("root/c.sock");
        wait::until("containerd to answer", || {
            process.assert_running();
            let mut ctr = Command::new("ctr");
            let answer = ctr.arg("--address").arg(&socket).arg("version").output().expect("start ctr");
            wait::ensure(answer.status.success(), || String::from_utf8_lossy(&answer.stderr).into_owned())
        });
    }

    /// Stops it and takes its socket away; containers go on.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.take().expect("it is running").terminate();
        let _ = fs::remove_file(self.socket());
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.root().join("c.sock")
    }

    /// The image of the tests.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Starts a container that does nothing, in the host's network.
    #[track_caller]
    pub fn run(&self, namespace: &'static str, options: &[&str]) -> Task<'_> {
        let id = unique_id();
        let fixed = ["run", "--detach", "--net-host", "--snapshotter", "native"];
        self.ctr(namespace, &[&fixed[..], options, &[&self.image, &id, "/bin/traffic", "wait"]].concat());
        Task { containerd: self, namespace, id, removed_later: false }
    }

    /// Runs `traffic` in a container to its end.
    #[track_caller]
    pub fn traffic(&self, namespace: &str, id: &str, arguments: &[&str]) -> String {
        let exec = ["tasks", "exec", "--exec-id", "traffic", id, "/bin/traffic"];
        self.ctr(namespace, &[&exec[..], arguments].concat())
    }

    /// Its CRI plugin.
    pub fn cri(&self) -> Cri {
        Cri::at(self.socket())
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    #[track_caller]
    fn ctr(&self, namespace: &str, arguments: &[&str]) -> String {
        let mut ctr = Command::new("ctr");
        run(ctr.arg("--address").arg(self.socket()).args(["--namespace", namespace]).args(arguments))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(rustix::process::Signal::TERM);
        }
        // One that does not end in time is no reason to abort a test that is failing already.
        let _ = catch_unwind(AssertUnwindSafe(|| self.cleaner.terminate()));
    }
}

/// A running container.
#[derive(Debug)]
pub struct Task<'c> {
    containerd: &'c Containerd,
    namespace: &'static str,
    id: String,
    removed_later: bool,
}

impl Task<'_> {
    /// Its id: 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs `traffic` inside to its end.
    #[track_caller]
    pub fn traffic(&self, arguments: &[&str]) -> String {
        self.containerd.traffic(self.namespace, &self.id, arguments)
    }

    /// Leaves it to containerd's end, and returns its id.
    pub fn leave(mut self) -> String {
        self.removed_later = true;
        self.id.clone()
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if self.removed_later || self.containerd.process.is_none() {
            return;
        }
        for arguments in [&["tasks", "rm", "--force"][..], &["containers", "rm"]] {
            let mut ctr = Command::new("ctr");
            ctr.arg("--address").arg(self.containerd.socket()).args(["--namespace", self.namespace]);
            let _ = ctr.args(arguments).arg(&self.id).output();
        }
    }
}

/// An id as runtimes make them, which no other container of the machine has.
fn unique_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    (0..4u64).map(|part| format!("{:016x}", RandomState::new().hash_one(part))).collect()
}

fn config(root: &Path, sandbox_image: &str) -> String {
    let root = root.display();
    format!(
        r#"
# Only what it warns of, so that a failing test stays readable.
version = 2
root = "{root}/data"
state = "{root}/state"
[debug]
  level = "warn"
[grpc]
  address = "{root}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox_image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#
    )
}
