//! A network namespace of a test, connected to nothing: loopback is all there is.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::run;

/// A named namespace with its loopback up; removed when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace.
    #[track_caller]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sonde-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        run(namespace.command("ip").args(["link", "set", "lo", "up"]));
        namespace
    }

    /// Its name, unique on the machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` inside; it becomes the program under the same process id.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Processes inside keep it alive until they end; its name goes now.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}
