//! The shared libraries of a binary, for places that have no operating system: the image and the test VM.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Returns the paths of everything the loader needs for `binary`, itself included; nothing for a static one.
pub fn of(binary: &Path) -> Result<BTreeSet<PathBuf>> {
    let output =
        Command::new("ldd").arg(binary).env_remove("LD_LIBRARY_PATH").output().context("start ldd")?;
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !error.contains("not a dynamic executable") {
        bail!("ldd {}: {}", binary.display(), error.trim());
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = listing.lines().find(|line| line.contains("not found")) {
        bail!("{}: {}", binary.display(), missing.trim());
    }
    Ok(parse(&listing))
}

/// Reads `ldd`'s lines: `name => path (address)` and `path (address)` for the loader; the vdso has no path.
fn parse(listing: &str) -> BTreeSet<PathBuf> {
    let path_of = |line: &str| {
        let line = line.trim();
        let path = line.split_once("=>").map_or(line, |(_, path)| path.trim());
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    listing.lines().filter_map(path_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_found_and_the_vdso_is_not() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffe)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f11)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f12)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(parse(listing), expected.iter().map(PathBuf::from).collect());
        assert_eq!(parse("\tstatically linked\n"), BTreeSet::new());
    }
}
