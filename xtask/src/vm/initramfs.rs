//! The guest's root file system: busybox, the agent, the test program as PID 1, tools, the modules.
//!
//! What the test program finds: `/init` (itself), `/bin/busybox`, `/usr/bin/sonde-agent`, `nft` and
//! `ipvsadm` in `/usr/bin`, and `/etc/modules`, the absolute paths of modules in the order they are to be loaded.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio;
use super::debian::Unpacked;
use crate::{progress, shared_libs};

const BUSYBOX: &str = "/bin/busybox";
/// Tools that the test program calls, and their packages. Each moves to `/usr/bin`: PID 1 has no `PATH`, and without one
/// nothing is looked for in `/usr/sbin`.
const TOOLS: &[(&str, &str)] = &[("/usr/sbin/nft", "nftables"), ("/usr/sbin/ipvsadm", "ipvsadm")];
const DIRECTORIES: &[&str] = &["dev", "proc", "run", "sys", "tmp", "var"];

/// What the guest runs.
pub struct Programs {
    /// PID 1.
    pub init: PathBuf,
    /// `sonde-agent`.
    pub agent: PathBuf,
}

/// Builds the archive for one kernel.
pub fn build(programs: &Programs, kernel: &Unpacked, wanted: &[String]) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    for directory in DIRECTORIES {
        tree.directory(Path::new(directory));
    }
    // The kernel opens it for PID 1 before devtmpfs is mounted.
    tree.copy("init", &programs.init)?;
    tree.copy("bin/busybox", Path::new(BUSYBOX))?;
    tree.archive.symlink("bin/sh", "busybox");
    tree.copy("usr/bin/sonde-agent", &programs.agent)?;
    for (tool, _) in TOOLS {
        tree.copy(&tool.replace("/usr/sbin", "usr/bin"), Path::new(tool))?;
    }
    let tools = TOOLS.iter().map(|(tool, _)| Path::new(tool));
    for binary in [programs.init.as_path(), &programs.agent].into_iter().chain(tools) {
        for library in shared_libs::of(binary)? {
            tree.copy(&library.to_string_lossy()[1..], &library)?;
        }
    }
    let dependencies =
        fs::read_to_string(kernel.modules().join("modules.dep")).context("read modules.dep")?;
    let mut order = String::new();
    for module in load_order(&dependencies, wanted) {
        let name = Path::new(&module).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = format!("lib/modules/{}", name.trim_end_matches(".xz"));
        tree.add(&path, &read_module(&kernel.modules().join(&module))?);
        order.push_str(&format!("/{path}\n"));
    }
    tree.add("etc/modules", order.as_bytes());
    Ok(tree.archive.finish())
}

/// Returns the modules' files, each after all it depends on. Modules that the kernel has built in are left out.
fn load_order(dependencies: &str, wanted: &[String]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        let line = dependencies.lines().find_map(|line| {
            let (module, needs) = line.split_once(':')?;
            let file = Path::new(module).file_name()?.to_str()?;
            // File names and module names differ in `-` and `_`.
            (file.split('.').next()?.replace('-', "_") == name.replace('-', "_")).then_some((module, needs))
        });
        let Some((module, needs)) = line else { continue };
        for file in needs.split_whitespace().rev().chain([module]) {
            if !order.iter().any(|known| known == file) {
                order.push(file.to_owned());
            }
        }
    }
    order
}

fn read_module(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").arg("-dc").arg(file).output().context("start xz")?;
        anyhow::ensure!(output.status.success(), "{} cannot be unpacked", file.display());
        return Ok(output.stdout);
    }
    fs::read(file).with_context(|| format!("read {}", file.display()))
}

/// An archive whose directories appear by themselves and whose files appear once.
#[derive(Default)]
struct Tree {
    archive: cpio::Archive,
    known: BTreeSet<PathBuf>,
}

impl Tree {
    fn directory(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || !self.known.insert(path.to_owned()) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.archive.directory(&path.to_string_lossy());
    }

    fn add(&mut self, path: &str, content: &[u8]) {
        if let Some(parent) = Path::new(path).parent() {
            self.directory(parent);
        }
        if self.known.insert(PathBuf::from(path)) {
            self.archive.file(path, content);
        }
    }

    fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.add(path, &content);
        Ok(())
    }
}

/// Installs what [`build`] reads from the machine.
pub fn ensure_packages() -> Result<()> {
    let tools = TOOLS.iter().map(|(_, package)| *package);
    crate::packages::ensure(&tools.chain(["busybox-static"]).collect::<Vec<_>>())?;
    progress::output(Command::new(BUSYBOX).arg("true")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let dependencies = "kernel/net/a-one.ko.xz: kernel/net/b.ko kernel/net/c.ko\n\
            kernel/net/b.ko: kernel/net/c.ko\n\
            kernel/net/c.ko:\n\
            kernel/net/d.ko: kernel/net/c.ko\n";
        let wanted = ["a_one", "builtin", "d", "b"].map(String::from);
        let expected = ["kernel/net/c.ko", "kernel/net/b.ko", "kernel/net/a-one.ko.xz", "kernel/net/d.ko"];
        assert_eq!(load_order(dependencies, &wanted), expected);
    }
}
