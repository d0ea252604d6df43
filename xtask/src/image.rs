//! `cargo xtask image`: an OCI image archive that `docker load` takes, `target/sonde-agent-image.tar`.
//!
//! The image holds the agent, the shared libraries that it and NVIDIA's library are linked to and the CA certificates; no
//! shell, no package manager, nothing else. It is written by [`layer`] and [`archive`], not by a container engine, and
//! the same input gives the same bytes.

pub mod archive;
mod layer;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{build, packages, paths, shared_libs};
use archive::{Image, Platform};
use layer::Layer;

/// What `docker run` is told.
pub const TAG: &str = "sonde-agent:latest";
const BINARY: &str = "usr/bin/sonde-agent";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Parts of the C library that NVIDIA's management library asks for by names of before glibc 2.34; the agent loads it from
/// the host.
const OF_NVML: [&str; 3] = ["libpthread.so.0", "libdl.so.2", "librt.so.1"];
/// Where the agent keeps its queue; a volume in a container whose root is read-only.
const DATA_DIRECTORY: &str = "var/lib/sonde/agent";

/// Builds the image and says how to run it.
pub fn run() -> Result<()> {
    let path = ensure()?;
    println!("{}", path.display());
    println!("docker load --input {}", path.display());
    Ok(())
}

/// Builds the image archive and returns its path.
pub fn ensure() -> Result<PathBuf> {
    build::ensure()?;
    packages::ensure(&["ca-certificates"])?;
    let layer = layer(&paths::release_binary("sonde-agent")?)?;
    let image = Image {
        tag: TAG,
        version: env!("CARGO_PKG_VERSION"),
        entrypoint: &format!("/{BINARY}"),
        platform: Platform::host(),
        layer: &layer,
    };
    let path = paths::target()?.join("sonde-agent-image.tar");
    let bytes = image.write()?;
    if fs::read(&path).is_ok_and(|old| old == bytes) {
        return Ok(path);
    }
    let scratch = path.with_extension("tar.new");
    fs::write(&scratch, bytes).with_context(|| format!("write {}", scratch.display()))?;
    fs::rename(&scratch, &path).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn layer(agent: &Path) -> Result<Vec<u8>> {
    let mut layer = Layer::default();
    // Where a container engine or a pod mounts what the agent looks at and writes to.
    for directory in ["dev", "proc", "run", "sys", "tmp", DATA_DIRECTORY] {
        layer.directory(directory);
    }
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    layer.file(BINARY, 0o755, read(agent)?);
    let own = shared_libs::of(agent)?;
    for library in own.iter().chain(&shared_libs::beside(&own, &OF_NVML)) {
        let path = library.to_string_lossy();
        layer.file(path.trim_start_matches('/'), 0o755, read(library)?);
    }
    layer.file(&CERTIFICATES[1..], 0o644, read(Path::new(CERTIFICATES))?);
    // glibc asks files before DNS only when told; the defaults of other distributions differ.
    layer.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n".to_vec());
    layer.finish()
}
