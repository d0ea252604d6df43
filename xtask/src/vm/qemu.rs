//! Booting one kernel under QEMU and reading its serial console until it powers off or the deadline passes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::console::Outcome;
use crate::{packages, progress};

const PROGRAM: &str = "qemu-system-x86_64";
/// Console lines waiting to be read; a guest that prints faster waits.
const LINES: usize = 1024;

/// What is booted.
pub struct Machine<'m> {
    /// The kernel's image.
    pub kernel: &'m Path,
    /// Its root file system.
    pub initramfs: &'m Path,
    /// More words of its command line.
    pub options: &'m str,
}

impl Machine<'_> {
    /// Boots it and returns what the guest reported; the console is kept in `log`.
    pub fn boot(&self, log: &Path, limit: Duration) -> Result<Outcome> {
        watch(self.start()?, log, limit)
    }

    fn start(&self) -> Result<Guest> {
        // Not `-accel kvm`: Debian's kernels hang on hosts that offer KVM through paravirtualization only. One thread
        // for both processors: with two, QEMU 7.2 now and then runs an instruction that the other processor is just
        // patching (`Oops: int3` in a static branch at boot, seen with 6.12).
        let child = Command::new(PROGRAM)
            .args([
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max",
                "-m",
                "1024",
                "-smp",
                "2",
                "-nographic",
                "-no-reboot",
                "-nic",
                "none",
            ])
            .arg("-append")
            .arg(format!("console=ttyS0 quiet panic=-1 {}", self.options))
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("start {PROGRAM}"))?;
        Ok(Guest(child))
    }
}

/// Reads the console until the guest ends or its time is over.
fn watch(mut guest: Guest, log: &Path, limit: Duration) -> Result<Outcome> {
    let deadline = Instant::now() + limit;
    let mut log = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let lines = guest.console()?;
    let mut outcome = Outcome::default();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                writeln!(log, "{line}").context("write the console's log")?;
                outcome.handle_line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => {
                outcome.failed.push(("deadline".to_owned(), format!("still running after {limit:?}")));
                return Ok(outcome);
            }
        }
    }
}

/// A running QEMU; it ends with this value.
struct Guest(Child);

impl Guest {
    fn console(&mut self) -> Result<mpsc::Receiver<String>> {
        let stdout = self.0.stdout.take().context("take the guest's console")?;
        let (sender, receiver) = mpsc::sync_channel(LINES);
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).split(b'\n').map_while(Result::ok);
            // Ends with the console, or when nobody reads any more.
            while let Some(line) = lines.next()
                && sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_ok()
            {}
        });
        Ok(receiver)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Installs QEMU. Where a newer `qemu-utils` from elsewhere stands in the way, the matching one replaces it.
pub fn ensure() -> Result<()> {
    if Command::new(PROGRAM).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let Err(error) = packages::ensure(&["qemu-system-x86"]) else { return Ok(()) };
    let policy = progress::output(Command::new("apt-cache").args(["policy", "qemu-system-x86"]))?;
    let version = candidate(&policy).context("find the version of qemu-system-x86")?;
    eprintln!("  {error:#}");
    let exact = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "qemu-utils"]
        .into_iter()
        .filter_map(|package| {
            let policy = progress::output(Command::new("apt-cache").args(["policy", package])).ok()?;
            let known = policy.lines().any(|line| line.split_whitespace().any(|word| word == version));
            known.then(|| format!("{package}={version}"))
        });
    let _policy = packages::NoServices::declare()?;
    progress::run(
        "install qemu-system-x86 with qemu-utils of its version",
        packages::apt_get().args(["install", "--no-install-recommends", "--allow-downgrades"]).args(exact),
    )
}

fn candidate(policy: &str) -> Option<&str> {
    policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_apts_policy() {
        let policy = "qemu-utils:\n  Installed: 1:9.0\n  Candidate: 1:7.2+dfsg-7+deb12u18\n";
        assert_eq!(candidate(policy), Some("1:7.2+dfsg-7+deb12u18"));
    }
}
