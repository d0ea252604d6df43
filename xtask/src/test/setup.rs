//! What the tests need on the machine.

use std::process::Command;

use anyhow::Result;

use crate::vm;
use crate::{packages, progress};

/// Servers and tools that the tests start by themselves; none of them is left running as a service.
const PACKAGES: &[&str] = &[
    "prometheus",
    "victoria-metrics",
    "docker.io",
    "containerd",
    "podman",
    "runc",
    "curl",
    "bpftool",
    "busybox-static",
    "dbus-daemon",
    "ca-certificates",
    "e2fsprogs",
    "git",
    "iproute2",
    "iptables",
    "lxc",
    "nftables",
    "procps",
    "python3",
    "strace",
    "systemd",
];

/// Installs what is missing. Without root the tests that need it are skipped with that reason instead.
pub fn ensure() -> Result<()> {
    let missing = packages::missing(PACKAGES)?;
    if !missing.is_empty() && !rustix::process::geteuid().is_root() {
        eprintln!("  not root, not installed: {}; tests that need them are skipped", missing.join(" "));
    } else {
        packages::ensure(PACKAGES)?;
    }
    vm::ensure_qemu()?;
    rust_components()
}

/// rustfmt and clippy of the toolchain in use, for machines with rustup's minimal profile.
fn rust_components() -> Result<()> {
    let works =
        |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if works("rustfmt") && works("cargo-clippy") {
        return Ok(());
    }
    progress::run(
        "install rustfmt and clippy",
        Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]),
    )
}
