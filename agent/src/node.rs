//! The machine: who it is, and what its CPUs, memory, disks, file systems and network do.
//!
//! Everything is read below `--proc-root`, and the host's files through process 1's root directory there, where it is
//! open to the agent. A file that cannot be read costs its series only, and is counted; what a machine may well lack is
//! no failure, but has a reason.

mod disks;
mod emit;
mod filesystems;
mod identity;
mod interfaces;
mod memory;
mod number;
mod processors;
mod sockets;
mod sources;

use std::path::{Path, PathBuf};

pub use disks::Disk;
pub use emit::emit;
pub use filesystems::{Filesystem, Filesystems, Hidden, Usage};
pub use identity::NodeIdentity;
pub use interfaces::Interface;
pub use number::Number;

/// The machine at one moment. What could not be read is absent.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Numbers of the kernel's text files.
    pub numbers: Vec<Number>,
    /// Disks by name; a machine may have none.
    pub disks: Option<Vec<Disk>>,
    /// Network interfaces of process 1 by name; none where nothing but inner ends is seen.
    pub interfaces: Option<Vec<Interface>>,
    /// File systems.
    pub filesystems: Vec<Filesystem>,
    /// Disks, interfaces and file systems without series, by kind and reason.
    pub hidden: Vec<(&'static str, &'static str, usize)>,
    /// Metrics without a source on this machine, with the reason.
    pub absent: Vec<(&'static str, String)>,
}

/// Reads the machine again and again.
#[derive(Debug)]
pub struct NodeReader {
    proc_root: PathBuf,
    filesystems: Filesystems,
    failures: u64,
}

impl NodeReader {
    /// A reader of the host whose procfs is at `proc_root`.
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        Self { proc_root: proc_root.into(), filesystems: Filesystems::default(), failures: 0 }
    }

    /// Reads everything. Takes a millisecond or two; a local file system that does not answer makes it wait for 50 ms.
    pub fn read(&mut self) -> Node {
        let proc_root = &self.proc_root;
        let look = sources::read(proc_root);
        let disks = disks::read(&proc_root.join("diskstats"));
        let interfaces = interfaces::read(proc_root, &proc_root.join("1/net/dev"));
        let filesystems = self.filesystems.read(proc_root);
        self.failures += look.failures + u64::from(disks.is_none()) + u64::from(interfaces.is_none());
        let mut absent = look.absent;
        absent.extend(filesystems.reason.map(|reason| ("node_resources_filesystem_size_bytes", reason)));
        let over = |hidden: Option<usize>| hidden.unwrap_or_default();
        Node {
            numbers: look.numbers,
            hidden: vec![
                ("disk", "overflow", over(disks.as_ref().map(|(_, hidden)| *hidden))),
                ("interface", "overflow", over(interfaces.as_ref().map(|(_, hidden)| *hidden))),
                ("filesystem", "overflow", filesystems.hidden.overflow),
                ("filesystem", "hanging", filesystems.hidden.hanging),
                ("filesystem", "failed", filesystems.hidden.failed),
            ],
            disks: disks.map(|(disks, _)| disks),
            interfaces: interfaces.map(|(interfaces, _)| interfaces),
            filesystems: filesystems.shown,
            absent,
        }
    }

    /// Files that could not be read or understood so far.
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

/// The host's root directory: process 1's, or the agent's own where that is closed to it (no CAP_SYS_PTRACE).
fn host_root(proc_root: &Path) -> PathBuf {
    let root = proc_root.join("1/root");
    if root.read_dir().is_ok() { root } else { PathBuf::from("/") }
}

#[cfg(test)]
mod tests;
