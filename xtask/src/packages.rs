//! Debian packages: installed when missing, never removed, and without starting their services.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::progress;

/// Debian asks this script before a package's installation starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs those of `packages` that are missing. Needs root only when something is missing.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    require_root(&missing)?;
    update();
    let title = format!("install {}", missing.join(" "));
    let _policy = NoServices::declare()?;
    progress::run(
        &title,
        apt_get().args(["install", "--no-install-recommends", "--no-remove"]).args(&missing),
    )
}

/// Returns those of `packages` that dpkg does not know as installed.
pub fn missing<'p>(packages: &[&'p str]) -> Result<Vec<&'p str>> {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        bail!("this is no Debian (no dpkg-query): install by hand what provides {}", packages.join(", "));
    }
    // dpkg-query exits 1 when it does not know one of them and still prints the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\\n"])
        .args(packages)
        .output()
        .context("start dpkg-query")?;
    let known = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed = |name: &str| known.lines().any(|line| line == format!("{name} installed"));
    Ok(packages.iter().copied().filter(|package| !installed(package)).collect())
}

/// Refreshes the package lists, once per run. A mirror that cannot be reached is no reason to stop: the lists at hand may do.
fn update() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Err(error) = progress::run("update the package lists", apt_get().arg("update")) {
        eprintln!("  going on with the package lists at hand: {error:#}");
    }
}

/// An `apt-get` that asks nothing and waits for another apt to finish.
pub fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args([
        "--yes",
        "--quiet",
        "--option=DPkg::Lock::Timeout=300",
        "--option=Dpkg::Options::=--force-confold",
        "--option=Acquire::Retries=3",
    ]);
    command
}

fn require_root(missing: &[&str]) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "only root can install packages; run: apt-get install --no-install-recommends {}",
        missing.join(" ")
    )
}

/// A policy that forbids every start, and says whose it is.
const OURS: &str = "#!/bin/sh\n# Put here by Sonde's xtask while it installs packages.\nexit 101\n";

/// While it lives, installed packages do not start their services. An existing policy is left alone.
pub struct NoServices {
    ours: bool,
}

impl NoServices {
    /// Puts a policy in place that forbids every start, unless the machine has its own.
    pub fn declare() -> Result<Self> {
        // One of ours was left behind by a run that was interrupted.
        let existing = fs::read_to_string(POLICY).ok();
        if Path::new(POLICY).exists() && existing.as_deref() != Some(OURS) {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, OURS).with_context(|| format!("write {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {POLICY} executable"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("failed to remove {POLICY}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dpkg_does_not_know_is_missing() {
        let missing = missing(&["dpkg", "no-such-package-of-sonde"]).unwrap();
        assert_eq!(missing, ["no-such-package-of-sonde"]);
    }
}
