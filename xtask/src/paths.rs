//! Where things are: the workspace, its build output, and the user's cache.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Returns the root of the workspace; `cargo run` names the directory of this package.
pub fn root() -> Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let package = PathBuf::from(package);
    Ok(package.parent().context("find the workspace above xtask")?.to_owned())
}

/// Returns cargo's target directory.
pub fn target() -> Result<PathBuf> {
    Ok(match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root()?.join(directory),
        None => root()?.join("target"),
    })
}

/// Returns where the kernel object is put. The agent's build looks in exactly this place, which is why
/// `CARGO_TARGET_DIR` does not move it.
pub fn ebpf_object() -> Result<PathBuf> {
    Ok(root()?.join("target/bpf/sonde-ebpf.o"))
}

/// Returns a release binary's place.
pub fn release_binary(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("release").join(name))
}

/// Returns the directory for the logs of steps, created.
pub fn logs() -> Result<PathBuf> {
    created(target()?.join("xtask/logs"))
}

/// Returns a directory inside the user's cache, created: what is downloaded or built once per machine.
pub fn cache(part: &str) -> Result<PathBuf> {
    let base = env::var_os("SONDE_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("XDG_CACHE_HOME")?).join("sonde")))
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/sonde")))
        .context("neither SONDE_CACHE_DIR nor XDG_CACHE_HOME nor HOME is set")?;
    created(base.join(part))
}

fn created(directory: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    Ok(directory)
}
