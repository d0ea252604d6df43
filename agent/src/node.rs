//! The machine: who it is, and what its CPUs, memory, disks and network do.
//!
//! Everything is read below `--proc-root`, and the host's files through process 1's root directory there, where it is
//! open to the agent. A file that cannot be read costs its series only, and is counted.

mod disks;
mod emit;
mod identity;
mod interfaces;

use std::path::{Path, PathBuf};

use procfs::{FromRead, FromReadSI};

pub use disks::Disk;
pub use emit::emit;
pub use identity::NodeIdentity;
pub use interfaces::Interface;

/// CPU time by mode since boot, in seconds, over all CPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuModes {
    /// Modes with their time, in the order of `/proc/stat`. A mode that the kernel does not know is absent.
    pub seconds: Vec<(&'static str, f64)>,
    /// CPUs that are online.
    pub logical_cores: usize,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeMemory {
    /// All of it.
    pub total: u64,
    /// Used for nothing.
    pub free: u64,
    /// What programs can get without swapping; absent before Linux 3.14.
    pub available: Option<u64>,
    /// Page cache.
    pub cached: u64,
}

/// The machine at one moment. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Time since boot.
    pub uptime_seconds: Option<f64>,
    /// CPUs.
    pub cpu: Option<CpuModes>,
    /// Memory.
    pub memory: Option<NodeMemory>,
    /// Disks by name; a machine may have none.
    pub disks: Option<Vec<Disk>>,
    /// Network interfaces of process 1 by name; none where nothing but inner ends is seen.
    pub interfaces: Option<Vec<Interface>>,
}

/// Reads the machine again and again.
#[derive(Debug)]
pub struct NodeReader {
    proc_root: PathBuf,
    failures: u64,
}

impl NodeReader {
    /// A reader of the host whose procfs is at `proc_root`.
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        Self { proc_root: proc_root.into(), failures: 0 }
    }

    /// Reads everything. Takes below a millisecond; nothing in it waits.
    pub fn read(&mut self) -> Node {
        Node {
            uptime_seconds: self.file("uptime", |path| Some(procfs::Uptime::from_file(path).ok()?.uptime)),
            cpu: self.file("stat", cpu),
            memory: self.file("meminfo", memory),
            disks: self.file("diskstats", disks::read),
            interfaces: self.file("1/net/dev", |path| interfaces::read(&self.proc_root, path)),
        }
        .counted(&mut self.failures)
    }

    /// Files that could not be read or understood so far.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    fn file<T>(&self, name: &str, read: impl FnOnce(&Path) -> Option<T>) -> Option<T> {
        read(&self.proc_root.join(name))
    }
}

/// The host's root directory: process 1's, or the agent's own where that is closed to it (no CAP_SYS_PTRACE).
fn host_root(proc_root: &Path) -> PathBuf {
    let root = proc_root.join("1/root");
    if root.read_dir().is_ok() { root } else { PathBuf::from("/") }
}

impl Node {
    fn counted(self, failures: &mut u64) -> Self {
        let missing = [
            self.uptime_seconds.is_none(),
            self.cpu.is_none(),
            self.memory.is_none(),
            self.disks.is_none(),
            self.interfaces.is_none(),
        ];
        *failures += missing.iter().filter(|missing| **missing).count() as u64;
        self
    }
}

fn cpu(path: &Path) -> Option<CpuModes> {
    let stat = procfs::KernelStats::from_file(path, procfs::current_system_info()).ok()?;
    let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
    let time = stat.total;
    let modes = [
        ("user", Some(time.user)),
        ("nice", Some(time.nice)),
        ("system", Some(time.system)),
        ("idle", Some(time.idle)),
        ("iowait", time.iowait),
        ("irq", time.irq),
        ("softirq", time.softirq),
        ("steal", time.steal),
    ];
    let seconds = modes.into_iter().filter_map(|(mode, value)| Some((mode, value? as f64 / ticks))).collect();
    Some(CpuModes { seconds, logical_cores: stat.cpu_time.len() })
}

/// The crate turns the kernel's `kB`, which are KiB, into bytes.
fn memory(path: &Path) -> Option<NodeMemory> {
    let info = procfs::Meminfo::from_file(path).ok()?;
    Some(NodeMemory {
        total: info.mem_total,
        free: info.mem_free,
        available: info.mem_available,
        cached: info.cached,
    })
}

#[cfg(test)]
mod tests;
