//! Real containers: one dockerd for all tests of a run, started on its default socket, where the agent looks.
//!
//! A dockerd that runs already is used, with a network of the tests' own. One started here has its own data directory,
//! sets no packet filter, and leaves nothing behind: a shell in front of it cleans up at its end, even when the test
//! process was killed. Runs of the suite on one machine wait for each other.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tempfile::TempDir;

use crate::process::{Process, run};
use crate::wait;

/// Where dockerd listens by default.
pub const SOCKET: &str = "/run/docker.sock";
const LOCK: &str = "/run/lock/sonde-tests.lock";
const BRIDGE: &str = "sonde-tests0";
const NETWORK: &str = "sonde-tests";
const SUBNET: &str = "10.213.77.0/24";
const BUSYBOX: &str = "/bin/busybox";

/// Everyone who needs a dockerd holds it shared, who needs its absence holds it alone.
static USERS: RwLock<()> = RwLock::new(());
/// The dockerd of this run, from its first use on.
static DAEMON: Mutex<Option<Arc<Daemon>>> = Mutex::new(None);

/// A dockerd with the image of the tests.
#[derive(Debug)]
pub struct Docker {
    daemon: Arc<Daemon>,
    _user: RwLockReadGuard<'static, ()>,
}

impl Docker {
    /// The dockerd of this run; `traffic` is the program of that name, which the image is made of.
    #[track_caller]
    pub fn shared(traffic: &Path) -> Self {
        let user = USERS.read().unwrap_or_else(|poison| poison.into_inner());
        let mut daemon = DAEMON.lock().unwrap_or_else(|poison| poison.into_inner());
        let daemon = daemon.get_or_insert_with(|| Arc::new(Daemon::start(traffic))).clone();
        Self { daemon, _user: user }
    }

    /// Starts a container that runs `traffic` with these arguments; `options` are those of `docker run`.
    #[track_caller]
    pub fn run(&self, name: &str, options: &[&str], arguments: &[&str]) -> Container<'_> {
        let image = self.daemon.image.clone();
        let options = [&["--network", NETWORK], options].concat();
        self.run_image(name, &options, &image, arguments)
    }

    /// Starts a container of any image.
    #[track_caller]
    pub fn run_image(&self, name: &str, options: &[&str], image: &str, arguments: &[&str]) -> Container<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A first process that has no handler ignores SIGTERM, so dockerd's end would wait for it.
        let common = ["run", "--detach", "--stop-signal", "SIGKILL", "--name", name.as_str()];
        run(docker().args(common).args(options).arg(image).args(arguments));
        Container { name, _docker: self }
    }

    /// Runs a `docker` command and returns its output.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> String {
        run(docker().args(arguments))
    }

    /// The image of the tests.
    pub fn image(&self) -> &str {
        &self.daemon.image
    }
}

/// No dockerd runs, and none is started by another test, while this value lives.
#[derive(Debug)]
pub struct NoDocker {
    _alone: RwLockWriteGuard<'static, ()>,
    _machine: File,
}

impl NoDocker {
    /// Stops the dockerd of this run when no test uses it any more.
    ///
    /// # Errors
    /// When a dockerd runs that the tests did not start.
    pub fn claim() -> Result<Self, String> {
        let alone = USERS.write().unwrap_or_else(|poison| poison.into_inner());
        drop(DAEMON.lock().unwrap_or_else(|poison| poison.into_inner()).take());
        let machine = lock_machine();
        if is_served() {
            return Err("a dockerd runs that the tests did not start".to_owned());
        }
        Ok(Self { _alone: alone, _machine: machine })
    }
}

/// A container; removed when dropped.
#[derive(Debug)]
pub struct Container<'d> {
    name: String,
    _docker: &'d Docker,
}

impl Container<'_> {
    /// Its name, unique on the machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The label that the agent gives it.
    pub fn id(&self) -> String {
        format!("/docker/{}", self.name)
    }

    /// Its address on the bridge.
    #[track_caller]
    pub fn ip(&self) -> String {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// The process id of its first process.
    #[track_caller]
    pub fn pid(&self) -> String {
        self.inspect("{{.State.Pid}}")
    }

    /// A field of `docker inspect`, as a template.
    #[track_caller]
    pub fn inspect(&self, template: &str) -> String {
        run(docker().args(["inspect", "--format", template, &self.name]))
    }

    /// Runs `traffic` inside to its end.
    #[track_caller]
    pub fn traffic(&self, arguments: &[&str]) -> String {
        run(docker().args(["exec", &self.name, "/bin/traffic"]).args(arguments))
    }

    /// What it has written.
    #[track_caller]
    pub fn output(&self) -> String {
        let output = docker().args(["logs", &self.name]).output().expect("start docker");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Waits until its output contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait::until(&format!("`{text}` from {}", self.name), || {
            let output = self.output();
            wait::ensure(output.contains(text), || output)
        });
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- container {} said:\n{}", self.name, self.output());
        }
        let _ = docker().args(["rm", "--force", &self.name]).output();
    }
}

#[derive(Debug)]
struct Daemon {
    image: String,
    /// The shell in front of dockerd; nothing when dockerd ran before.
    supervisor: Option<Process>,
    _directory: TempDir,
    _machine: File,
}

impl Daemon {
    #[track_caller]
    fn start(traffic: &Path) -> Self {
        let machine = lock_machine();
        let directory =
            tempfile::Builder::new().prefix("sonde-docker").tempdir().expect("create a directory");
        let supervisor = (!is_served()).then(|| start_dockerd(directory.path()));
        let image = format!("sonde-tests:{}", std::process::id());
        import_image(&image, traffic, directory.path());
        // One may be left of a run that was killed.
        let _ = docker().args(["network", "rm", NETWORK]).output();
        let name = format!("com.docker.network.bridge.name={BRIDGE}");
        run(docker().args(["network", "create", "--subnet", SUBNET, "--opt", &name, NETWORK]));
        Self { image, supervisor, _directory: directory, _machine: machine }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Best effort: nothing of this may hide why a test failed.
        let _ = docker().args(["network", "rm", NETWORK]).output();
        match &mut self.supervisor {
            Some(supervisor) => drop(supervisor.terminate()),
            None => drop(docker().args(["rmi", "--force", &self.image]).output()),
        }
    }
}

/// What the shell does: dockerd, and at its end or at SIGTERM everything back.
const SUPERVISE: &str = r#"
dockerd --data-root "$ROOT/data" --exec-root "$ROOT/exec" --pidfile "$ROOT/pid" --host "unix://$SOCKET" \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false &
daemon=$!
trap 'kill "$daemon"' TERM INT
wait "$daemon"; wait "$daemon"
ip link delete "$BRIDGE" 2>/dev/null
umount --lazy "$ROOT"/exec/netns/* "$ROOT"/data/overlay2/*/merged "$ROOT/data" 2>/dev/null
rm -rf "$ROOT" "$SOCKET"
"#;

#[track_caller]
fn start_dockerd(directory: &Path) -> Process {
    let root = directory.join("root");
    fs::create_dir(&root).expect("create dockerd's directory");
    let mut command = Command::new("sh");
    command.args(["-c", SUPERVISE]).env("ROOT", &root).env("SOCKET", SOCKET);
    command.env("BRIDGE", BRIDGE);
    let mut process = Process::start_with("dockerd", command, directory, "TERM", Stdio::null());
    wait::until("dockerd to answer", || {
        process.assert_running();
        let output = docker().arg("version").output().expect("start docker");
        wait::ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())
    });
    process
}

/// An image of busybox, `traffic` and the libraries it needs, made without any registry.
#[track_caller]
fn import_image(image: &str, traffic: &Path, directory: &Path) {
    let root = directory.join("image");
    let bin = root.join("bin");
    fs::create_dir_all(&bin).expect("create the image's directory");
    fs::copy(BUSYBOX, bin.join("busybox")).expect("copy busybox");
    std::os::unix::fs::symlink("busybox", bin.join("sh")).expect("link sh");
    fs::copy(traffic, bin.join("traffic")).expect("copy traffic");
    for library in libraries(traffic) {
        let copy = root.join(library.strip_prefix("/").expect("ldd gives absolute paths"));
        fs::create_dir_all(copy.parent().expect("a library stands in a directory"))
            .expect("create a directory");
        fs::copy(&library, copy).expect("copy a library");
    }
    let archive = directory.join("image.tar");
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."));
    let entry = r#"ENTRYPOINT ["/bin/traffic"]"#;
    run(docker().args(["import", "--change", entry]).arg(&archive).arg(image));
}

/// The shared libraries of a program and their loader, as `ldd` finds them; none for a static one.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("start ldd");
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = listing.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

fn docker() -> Command {
    let mut command = Command::new("docker");
    command.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", format!("unix://{SOCKET}"));
    command
}

fn is_served() -> bool {
    UnixStream::connect(SOCKET).is_ok()
}

/// Waits for other runs of the suite on this machine; the lock goes with the value.
fn lock_machine() -> File {
    let file = File::create(LOCK).expect("open the lock of the machine");
    file.lock().expect("take the lock of the machine");
    file
}
