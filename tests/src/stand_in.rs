//! A machine made up for a test: the agent takes a process in namespaces of its own for process 1.
//!
//! The agent's `--proc-root` is a directory of links into `/proc`, but for process 1. So what belongs to the host's
//! network and mounts is the test's alone, and can be counted exactly on a machine where much else goes on.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;
use crate::wait;

/// A shell in a network and a mount namespace of its own, with its loopback up and its own sysfs.
#[derive(Debug)]
pub struct StandIn {
    input: ChildStdin,
    orders: usize,
    /// Before its directory, so that it ends first.
    process: Process,
    directory: tempfile::TempDir,
}

impl StandIn {
    /// Makes the namespaces.
    #[track_caller]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("create a directory for the stand-in");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "sh"]);
        let mut process = Process::start_with_input("stand-in", command, directory.path());
        let input = process.take_input();
        let mut host = Self { input, orders: 0, process, directory };
        host.run("mount -t sysfs sysfs /sys && ip link set lo up");
        host.link_proc();
        host
    }

    /// What to give as `--proc-root`.
    pub fn proc_root(&self) -> PathBuf {
        self.directory.path().join("proc")
    }

    /// A directory of the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path of its mount namespace, as the test reaches it.
    pub fn path(&self, inside: &Path) -> PathBuf {
        let inside = inside.strip_prefix("/").expect("the path is absolute");
        PathBuf::from(format!("/proc/{}/root", self.process.pid())).join(inside)
    }

    /// Runs shell commands inside and waits for their end; panics when the last one fails.
    #[track_caller]
    pub fn run(&mut self, script: &str) {
        self.orders += 1;
        let marker = format!("order {}:", self.orders);
        writeln!(self.input, "{script}\necho '{marker}' $?").expect("write to the stand-in");
        let process = &mut self.process;
        let line = wait::until(&format!("`{script}`"), || {
            process.assert_running();
            let output = process.output();
            let line = output.lines().find(|line| line.starts_with(&marker)).map(str::to_owned);
            line.ok_or(output)
        });
        assert_eq!(line, format!("{marker} 0"), "`{script}` failed:\n{}", self.process.output());
    }

    /// Runs `work` in its network namespace; sockets made there stay there.
    ///
    /// # Panics
    /// When `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.process.pid())).expect("open a namespace");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("enter a network namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn link_proc(&self) {
        let root = self.proc_root();
        fs::create_dir(&root).expect("create a directory");
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(format!("/proc/{target}"), root.join(name)).expect("link into /proc");
        };
        for entry in fs::read_dir("/proc").expect("list /proc") {
            let name = entry.expect("read an entry of /proc").file_name();
            let name = name.to_str().expect("names in /proc are ASCII");
            if !name.starts_with(|c: char| c.is_ascii_digit()) {
                link(name, name);
            }
        }
        link(&self.process.pid().to_string(), "1");
    }
}

impl Default for StandIn {
    fn default() -> Self {
        Self::new()
    }
}
