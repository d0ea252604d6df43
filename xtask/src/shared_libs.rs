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

/// Those of `names` that stand beside the C library of a binary: programs may load what asks for them.
pub fn beside(libraries: &BTreeSet<PathBuf>, names: &[&str]) -> BTreeSet<PathBuf> {
    let is_libc = |path: &&PathBuf| path.file_name().is_some_and(|name| name == "libc.so.6");
    let directory = libraries.iter().find(is_libc).and_then(|libc| libc.parent());
    let paths = directory.into_iter().flat_map(|directory| names.iter().map(|name| directory.join(name)));
    paths.filter(|path| path.exists()).collect()
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
    fn other_parts_of_the_c_library_are_found_beside_it() {
        let own = of(&std::env::current_exe().unwrap()).unwrap();
        let names = |paths: BTreeSet<PathBuf>| -> Vec<_> {
            paths.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
        };
        assert_eq!(names(beside(&own, &["libpthread.so.0", "libnone.so.0"])), ["libpthread.so.0"]);
        assert_eq!(names(beside(&BTreeSet::new(), &["libpthread.so.0"])), [""; 0]);
    }

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
