//! Processes of a test: their output is kept and shown when the test fails, and they end with their guard.
//!
//! All are started by one thread that never ends and carry a parent-death signal, so that they end with the
//! test process however that ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, OnceLock};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Lines of output shown when a test fails.
const TAIL: usize = 80;

/// A running process whose output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output in `<directory>/<name>.log`, and kills it when the value is dropped.
    pub fn start(name: &str, command: Command, directory: &Path) -> Self {
        Self::start_with(name, command, directory, "KILL", Stdio::null())
    }

    /// As [`Process::start`], with a pipe to its standard input.
    pub fn start_with_input(name: &str, command: Command, directory: &Path) -> Self {
        Self::start_with(name, command, directory, "KILL", Stdio::piped())
    }

    /// As [`Process::start`], with the signal it gets when the test process ends, and its standard input.
    pub fn start_with(name: &str, command: Command, directory: &Path, at_end: &str, input: Stdio) -> Self {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("open a log");
        let mut bound = bind_to_this_process(&command, at_end);
        bound.stdin(input).stdout(output.try_clone().expect("clone a log's descriptor")).stderr(output);
        let child = spawn(bound).unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name: name.to_owned(), child, log, ended: None }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pipe to the standard input, once, when started with one.
    pub fn take_input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("the process was started with a pipe")
    }

    /// Everything it has written so far.
    pub fn output(&self) -> String {
        self.read_output().expect("read a log")
    }

    fn read_output(&self) -> std::io::Result<String> {
        std::fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Returns the exit status once it has ended.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait for a child");
        }
        self.ended
    }

    /// Sends `signal`; one that has ended gets none.
    pub fn signal(&mut self, signal: Signal) {
        if self.poll().is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.name));
        }
    }

    /// Waits until it ends and returns how.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        wait::until(&format!("the end of {name}"), || self.poll().ok_or("it is running"))
    }

    /// Ends it at once, with no chance to clean up.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Asks it to end by SIGTERM and returns its exit status.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Panics with the end of its output when it has ended by itself.
    #[track_caller]
    pub fn assert_running(&mut self) {
        if let Some(status) = self.poll() {
            panic!("{} ended with {}:\n{}", self.name, describe(status), tail(&self.output()));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.poll().is_none() {
            // An error means that it has ended meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            // Its directory may have gone before it.
            let said = self.read_output().unwrap_or_default();
            eprintln!("--- {} said:\n{}", self.name, tail(&said));
        }
    }
}

/// An exit code or the signal, as text.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// The same command behind `setpriv`, which asks the kernel for a signal at the parent's end and then becomes
/// the command, under the same process id.
fn bind_to_this_process(command: &Command, signal: &str) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", signal, "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    bound
}

type Order = (Command, std::sync::mpsc::SyncSender<std::io::Result<Child>>);

/// Starts a child from a thread that lives as long as the process: the kernel sends the parent-death signal at
/// the end of the *thread* that forked.
fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, received) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in received {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, answer) = sync_channel(1);
    let orders = spawner.lock().expect("no test panics while it sends an order").clone();
    orders.send((command, reply)).expect("the spawner never ends");
    answer.recv().expect("the spawner answers every order")
}

/// Runs `command` to its end and returns its standard output; panics with what it said when it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        describe(output.status),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A loopback address with a port that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// A binary of the product: from `SONDE_BIN_DIR`, else the newer one of `target/release` and `target/debug`.
pub fn product(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("SONDE_BIN_DIR") {
        return PathBuf::from(directory).join(name);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package stands in the workspace");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    ["release", "debug"]
        .map(|profile| target.join(profile).join(name))
        .into_iter()
        .filter_map(|file| Some((file.metadata().and_then(|data| data.modified()).ok()?, file)))
        .max()
        .map(|(_, file)| file)
        .unwrap_or_else(|| panic!("{name} is not built in {}: run `cargo xtask build`", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_killed_with_its_guard_and_its_output_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; exec sleep 600"]);
        let process = Process::start("sleeper", command, directory.path());
        wait::until("its output", || wait::equal(process.output(), "started\n".to_owned()));
        let proc = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists(), "the process has outlived its guard");
    }

    #[test]
    fn a_process_outlives_the_thread_that_started_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let mut process = std::thread::spawn(move || {
            let mut command = Command::new("sleep");
            command.arg("600");
            Process::start("sleeper", command, &path)
        })
        .join()
        .unwrap();
        process.assert_running();
        assert_eq!(describe(process.terminate()), "signal 15");
    }
}
