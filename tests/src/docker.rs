//! Real containers: one dockerd for all tests of a run, started on its default socket, where the agent looks.
//!
//! A dockerd that runs already is used, with a network and an image of the tests' own. One started here has its own data
//! directory, sets no packet filter, and leaves nothing behind, even when the test process is killed. Runs of the suite
//! on one machine wait for each other.

mod daemon;

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::process::run;
use crate::wait;
use daemon::Daemon;

/// Where dockerd listens by default.
pub const SOCKET: &str = "/run/docker.sock";
const LOCK: &str = "/run/sonde-tests.lock";
const NETWORK: &str = "sonde-tests";

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
        let image = self.daemon.image().to_owned();
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
        self.daemon.image()
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
        let machine = File::create(LOCK).expect("open the lock of the machine");
        machine.lock().expect("take the lock of the machine");
        if UnixStream::connect(SOCKET).is_ok() {
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

    /// A command of the host in its network namespace.
    #[track_caller]
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid(), "--net", "--", program]);
        command
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

fn docker() -> Command {
    let mut command = Command::new("docker");
    command.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", format!("unix://{SOCKET}"));
    command
}
