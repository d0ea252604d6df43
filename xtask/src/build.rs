//! `cargo xtask build`: both release binaries.

use std::process::Command;

use anyhow::Result;

use crate::toolchain::HOST_BUILD_PACKAGES;
use crate::{build_ebpf, packages, paths, progress};

/// The binaries of the product, by package and name.
pub const BINARIES: [&str; 2] = ["sonde-agent", "sonde-collector"];

/// Builds everything and says where it is.
pub fn run() -> Result<()> {
    ensure()?;
    for binary in BINARIES {
        println!("{}", paths::release_binary(binary)?.display());
    }
    Ok(())
}

/// Builds the kernel object and both binaries; does nothing when nothing has changed.
pub fn ensure() -> Result<()> {
    // For crates that bring C along.
    packages::ensure(HOST_BUILD_PACKAGES)?;
    build_ebpf::ensure()?;
    progress::run(
        "build the release binaries",
        cargo()?
            .args(["build", "--release", "--locked"])
            .args(BINARIES.map(|name| format!("--package={name}"))),
    )
}

/// The cargo that started xtask, in the workspace's root.
pub fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root()?);
    // Set by the outer `cargo run` for the package xtask; build scripts and tests must not see them.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    Ok(command)
}
