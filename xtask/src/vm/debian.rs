//! Debian's kernels, fetched with apt into the user's cache, without touching the machine's own apt.
//!
//! A private set of lists has the suites in which old kernels live. apt verifies every package against the
//! signed lists, with the keys that Debian ships; nothing is installed, packages are only unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::kernels::{self, Kernel};
use crate::{packages, paths, progress};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Suites in which the kernels live, each with the suite of the machine's own sources whose mirror has it too.
const SUITES: &[(&str, &str)] = &[
    ("bookworm", "bookworm"),
    ("bookworm-security", "bookworm-security"),
    ("bullseye-security", "bookworm-security"),
];
/// Lists younger than this are not fetched again.
const LISTS_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// An unpacked kernel package.
pub struct Unpacked {
    /// The package's name, with the version that was chosen.
    pub package: String,
    /// The directory with `boot/` and `lib/modules/`.
    pub root: PathBuf,
    /// What `uname -r` says in it.
    pub release: String,
}

impl Unpacked {
    /// The image that QEMU boots.
    pub fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The directory of the modules and of `modules.dep`.
    pub fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// A private apt with its own lists.
pub struct Archive {
    home: PathBuf,
}

impl Archive {
    /// Opens the archive in the user's cache and refreshes its lists when they are old.
    pub fn open() -> Result<Self> {
        packages::ensure(&["debian-archive-keyring", "kmod", "xz-utils"])?;
        let archive = Self { home: paths::cache("kernels")? };
        for directory in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(archive.home.join(directory)).context("create apt's directories")?;
        }
        fs::write(archive.home.join("sources.list"), sources()?).context("write apt's sources")?;
        fs::write(archive.home.join("status"), "").context("write apt's status")?;
        archive.refresh()?;
        Ok(archive)
    }

    /// Fetches and unpacks the newest package for `kernel`, unless that is in the cache.
    pub fn fetch(&self, kernel: &Kernel) -> Result<Unpacked> {
        let names = progress::output(self.apt("apt-cache").args(["pkgnames", "linux-image-"]))?;
        // Without lists (no network) an unpacked kernel of an earlier run still serves.
        let newest = kernels::newest(&kernel.package, names.lines())
            .map(str::to_owned)
            .or_else(|| {
                kernels::newest(&kernel.package, self.unpacked().iter().map(String::as_str))
                    .map(str::to_owned)
            })
            .with_context(|| format!("no package matches {}", kernel.package))?;
        let root = self.home.join("unpacked").join(&newest);
        if !root.exists() {
            self.unpack(&newest, &root)?;
        }
        let release = newest.strip_prefix("linux-image-").unwrap_or(&newest).to_owned();
        Ok(Unpacked { package: newest, root, release })
    }

    fn refresh(&self) -> Result<()> {
        let stamp = self.home.join("refreshed");
        let age = fs::metadata(&stamp).and_then(|meta| meta.modified()).ok();
        let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age < LISTS_MAX_AGE) {
            return Ok(());
        }
        match progress::run("update the lists of old kernels", self.apt("apt-get").arg("update")) {
            Ok(()) => fs::write(&stamp, "").context("write the time of the update"),
            Err(error) => {
                eprintln!("  going on with the lists at hand: {error:#}");
                Ok(())
            }
        }
    }

    fn unpacked(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.join("unpacked")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn unpack(&self, package: &str, root: &Path) -> Result<()> {
        let scratch = tempfile::tempdir_in(&self.home).context("create a download directory")?;
        progress::run(
            &format!("fetch {package}"),
            self.apt("apt-get").args(["download", package]).current_dir(scratch.path()),
        )?;
        let unpacked = scratch.path().join("root");
        for file in fs::read_dir(scratch.path()).context("read the download directory")?.flatten() {
            if file.path().extension().is_some_and(|extension| extension == "deb") {
                progress::output(Command::new("dpkg-deb").arg("-x").arg(file.path()).arg(&unpacked))?;
            }
        }
        let release = package.strip_prefix("linux-image-").unwrap_or(package);
        progress::output(Command::new("/sbin/depmod").arg("-b").arg(&unpacked).arg(release))
            .context("index the modules")?;
        fs::create_dir_all(self.home.join("unpacked")).context("create the directory of kernels")?;
        fs::rename(&unpacked, root).with_context(|| format!("move {package} into the cache"))
    }

    fn apt(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        for (option, part) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::Status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg(format!("--option={option}={}", self.home.join(part).display()));
        }
        // The user's cache is closed to apt's own user, and fetching as it would gain nothing here.
        command.args(["--option=Dir::Etc::SourceParts=/dev/null", "--option=APT::Sandbox::User=root"]);
        command.args(["--option=Acquire::Languages=none", "--option=Acquire::Retries=3"]);
        command
    }
}

/// The private sources, from the mirrors that the machine itself uses.
fn sources() -> Result<String> {
    let format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"];
    sources_of(&progress::output(Command::new("apt-get").args(format))?)
}

/// `mirrors`: lines of a mirror's address and a suite.
fn sources_of(mirrors: &str) -> Result<String> {
    let mirror = |suite: &str| {
        let found =
            mirrors.lines().filter_map(|line| line.split_once(' ')).find(|(_, known)| *known == suite);
        found.map(|(mirror, _)| mirror).with_context(|| format!("apt has no source for {suite}"))
    };
    let line = |(suite, like): &(&str, &str)| {
        Ok(format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror(like)?))
    };
    SUITES.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_use_the_machines_own_mirrors() {
        let mirrors = "http://one/debian/ bookworm\nhttp://one/debian/ bookworm-updates\nhttp://two/sec/ bookworm-security\n";
        let sources = sources_of(mirrors).unwrap();
        let lines: Vec<&str> = sources.lines().map(|line| line.split_once("] ").unwrap().1).collect();
        let expected = [
            "http://one/debian/ bookworm main",
            "http://two/sec/ bookworm-security main",
            "http://two/sec/ bullseye-security main",
        ];
        assert_eq!(lines, expected);
        let error = sources_of("http://one/debian/ trixie\n").unwrap_err();
        assert_eq!(error.to_string(), "apt has no source for bookworm");
    }
}
