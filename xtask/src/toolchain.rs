//! The pinned toolchain of the kernel half: a rustc with LLVM 22, its sources, and a bpf-linker of the same LLVM.
//!
//! bpf-linker reads the bitcode of rustc, so both must carry the same LLVM: rustc 1.99 and newer have LLVM 23
//! and this linker fails on their bitcode. That is why the version is fixed and not "whatever is installed".

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{packages, paths, progress};

const RUST_VERSION: &str = "1.98.0";
const LINKER_VERSION: &str = "0.13.0";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const LLVM_PACKAGES: &[&str] = &["llvm-22-dev", "libpolly-22-dev"];
const DEBIAN_RUST_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// What building the linker itself needs: a C++ compiler and headers of the host.
pub const HOST_BUILD_PACKAGES: &[&str] = &["gcc", "g++", "libc6-dev"];
/// Chooses between `rustup` and `debian`; without it rustup is tried first.
const CHOICE_VARIABLE: &str = "SONDE_EBPF_TOOLCHAIN";

/// A Rust toolchain able to build for `bpfel-unknown-none`, with its linker.
pub struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain and installs what is missing of it.
    pub fn ensure() -> Result<Self> {
        let choice = env::var(CHOICE_VARIABLE).ok();
        let (cargo, rustc) = match choice.as_deref() {
            Some("rustup") => from_rustup()?,
            Some("debian") => from_debian()?,
            Some(other) => bail!("{CHOICE_VARIABLE} is `{other}`; allowed are `rustup` and `debian`"),
            None => from_rustup().or_else(|error| {
                eprintln!("  rustup has no Rust {RUST_VERSION} ({error:#}); using Debian's instead");
                from_debian()
            })?,
        };
        let linker = ensure_linker(&cargo, &rustc)?;
        Ok(Self { cargo, rustc, linker })
    }

    /// A cargo of this toolchain that takes nothing over from the cargo that started xtask.
    pub fn cargo(&self) -> Command {
        clean_cargo(&self.cargo, &self.rustc)
    }

    /// Clippy of this toolchain, which rustup installs where it is missing; `None` for Debian's older toolchain, whose
    /// lints are not the same.
    pub fn clippy(&self) -> Result<Option<Command>> {
        if self.rustc == Path::new(DEBIAN_RUSTC) {
            return Ok(None);
        }
        let clippy = self.cargo.with_file_name("cargo-clippy");
        if !clippy.exists() {
            progress::run(
                "install clippy for the kernel half",
                Command::new("rustup").args(["component", "add", "clippy", "--toolchain", RUST_VERSION]),
            )?;
        }
        ensure!(clippy.exists(), "{} is missing", clippy.display());
        let mut command = clean_cargo(&clippy, &self.rustc);
        command.env("CARGO", &self.cargo);
        Ok(Some(command))
    }

    /// LLVM's objcopy, which knows BPF; the one of binutils does not.
    pub fn objcopy(&self) -> PathBuf {
        Path::new(LLVM_PREFIX).join("bin/llvm-objcopy")
    }

    /// The linker's path.
    pub fn linker(&self) -> &Path {
        &self.linker
    }
}

/// Says whether a variable configures how cargo reaches registries; only those pass into inner builds.
fn passes_into_inner_build(name: &str) -> bool {
    const KEPT: &[&str] = &["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_DIST_SERVER", "RUSTUP_UPDATE_ROOT"];
    const KEPT_PREFIXES: &[&str] =
        &["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    let ours = name.starts_with("CARGO") || name.starts_with("RUST") || name == "LD_LIBRARY_PATH";
    !ours || KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn clean_cargo(cargo: &Path, rustc: &Path) -> Command {
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| !passes_into_inner_build(name)) {
            command.env_remove(name);
        }
    }
    command.env("RUSTC", rustc);
    command
}

fn from_rustup() -> Result<(PathBuf, PathBuf)> {
    if let Ok(found) = rustup_tools() {
        return Ok(found);
    }
    let title = format!("install Rust {RUST_VERSION} for the kernel half");
    progress::run(
        &title,
        Command::new("rustup").args(["toolchain", "install", RUST_VERSION, "--profile", "minimal"]).args([
            "--component",
            "rust-src",
            "--no-self-update",
        ]),
    )?;
    rustup_tools()
}

fn rustup_tools() -> Result<(PathBuf, PathBuf)> {
    // Without this rustup would install the toolchain by itself, without the sources.
    let sysroot = progress::output(
        Command::new("rustup")
            .args(["run", RUST_VERSION, "rustc", "--print", "sysroot"])
            .env("RUSTUP_AUTO_INSTALL", "0"),
    )?;
    let sysroot = PathBuf::from(sysroot.trim());
    checked(&sysroot, sysroot.join("bin/cargo"), sysroot.join("bin/rustc"))
}

fn from_debian() -> Result<(PathBuf, PathBuf)> {
    packages::ensure(DEBIAN_RUST_PACKAGES)?;
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    let sysroot = progress::output(
        Command::new(&rustc)
            .args(["--print", "sysroot"])
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("LD_LIBRARY_PATH"),
    )?;
    checked(Path::new(sysroot.trim()), PathBuf::from("/usr/bin/cargo"), rustc)
}

fn checked(sysroot: &Path, cargo: PathBuf, rustc: PathBuf) -> Result<(PathBuf, PathBuf)> {
    let core = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    ensure!(core.exists(), "rust-src is not installed: {} is missing", core.display());
    ensure!(cargo.exists(), "{} is missing", cargo.display());
    let version = progress::output(
        Command::new(&rustc).arg("--version").arg("--verbose").env_remove("LD_LIBRARY_PATH"),
    )?;
    ensure!(
        version.lines().any(|line| line.starts_with("LLVM version: 22.")),
        "{} does not carry LLVM 22, which bpf-linker {LINKER_VERSION} is built with",
        rustc.display()
    );
    Ok((cargo, rustc))
}

/// Builds the linker once per machine; a built one that does not start (another LLVM) is built again.
fn ensure_linker(cargo: &Path, rustc: &Path) -> Result<PathBuf> {
    packages::ensure(LLVM_PACKAGES)?;
    let home = paths::cache("tools")?.join(format!("bpf-linker-{LINKER_VERSION}-llvm-22"));
    let linker = home.join("bin/bpf-linker");
    if starts(&linker) {
        return Ok(linker);
    }
    packages::ensure(HOST_BUILD_PACKAGES)?;
    // Installed beside and moved at the end: an interrupted build never looks like a finished one.
    let scratch = tempfile::tempdir_in(paths::cache("tools")?).context("create a build directory")?;
    progress::run(
        &format!("build bpf-linker {LINKER_VERSION}"),
        clean_cargo(cargo, rustc)
            .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"])
            .args(["--no-default-features", "--features", "llvm-22"])
            .args([OsStr::new("--root"), scratch.path().as_os_str()])
            .env("CARGO_TARGET_DIR", scratch.path().join("build"))
            .env("LLVM_PREFIX", LLVM_PREFIX),
    )?;
    std::fs::create_dir_all(home.join("bin")).context("create the linker's directory")?;
    std::fs::rename(scratch.path().join("bin/bpf-linker"), &linker)
        .context("move bpf-linker into the cache")?;
    ensure!(starts(&linker), "{} was built and does not start", linker.display());
    Ok(linker)
}

fn starts(linker: &Path) -> bool {
    linker.exists() && progress::output(Command::new(linker).arg("--version")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registry_settings_reach_the_inner_build() {
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_BUILD_DIR", "RUSTC"]
        {
            assert!(!passes_into_inner_build(name), "{name} would change the kernel object");
        }
        for name in
            ["PATH", "HOME", "CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_REGISTRIES_X_INDEX", "https_proxy"]
        {
            assert!(passes_into_inner_build(name), "{name} is needed to reach the registry");
        }
    }
}
