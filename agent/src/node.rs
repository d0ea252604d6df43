//! The machine: who it is, and what its CPUs, memory, disks, file systems and network do.
//!
//! Everything is read below `--proc-root`, and the host's files through process 1's root directory there, where it is
//! open to the agent. A file that cannot be read costs its series only, and is counted; what a machine may well lack is
//! no failure, but has a reason.

mod disks;
mod emit;
mod filesystems;
mod identity;
pub(crate) mod interfaces;
mod memory;
mod number;
mod processors;
mod sockets;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cloud::{Cloud, CloudInfo};
use crate::gpu::{Gpu, Gpus};
use crate::health::Absent;
use crate::model::BootNanos;
use crate::registry::catalog::node;
use crate::registry::{Labels, Metric};
use interfaces::Speeds;
use processors::CpuTimes;

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
    /// GPUs, as far as their driver tells.
    pub gpus: Vec<Gpu>,
    /// What its cloud calls it.
    pub cloud: Option<CloudInfo>,
}

/// Reads the machine again and again.
#[derive(Debug)]
pub struct NodeReader {
    proc_root: PathBuf,
    filesystems: Filesystems,
    speeds: Speeds,
    cpu_times: CpuTimes,
    cloud: Cloud,
    gpus: Gpus,
    failures: u64,
    /// Metrics without a source at the last look, with the reason.
    absent: Vec<(&'static Metric, String)>,
}

impl NodeReader {
    /// A reader of the host whose procfs is at `proc_root`, in a cloud or in none.
    pub fn new(proc_root: impl Into<PathBuf>, cloud: Cloud, gpus: Gpus) -> Self {
        let proc_root = proc_root.into();
        let (filesystems, speeds) = (Filesystems::default(), Speeds::default());
        let cpu_times = CpuTimes::default();
        Self { proc_root, filesystems, speeds, cpu_times, cloud, gpus, failures: 0, absent: Vec::new() }
    }

    /// Reads everything. Takes a millisecond or two; a local file system that does not answer makes it wait for 50 ms.
    /// Speeds of links come later, mostly with the next look.
    pub fn read(&mut self, now: BootNanos) -> Node {
        let proc_root = &self.proc_root;
        let mut look = sources::read(proc_root);
        self.cpu_times.hold(&mut look.numbers);
        let disks = disks::read(&proc_root.join("diskstats"));
        let sysfs = interfaces::sysfs(proc_root);
        let mut interfaces = interfaces::read(proc_root, sysfs.as_deref());
        if let (Some((interfaces, _)), Some(sysfs)) = (&interfaces, &sysfs) {
            self.speeds.ask(interfaces, sysfs, now);
        }
        let filesystems = self.filesystems.read(proc_root, now);
        if let Some((interfaces, _)) = &mut interfaces {
            self.speeds.tell(interfaces, now);
        }
        self.failures += look.failures + u64::from(disks.is_none()) + u64::from(interfaces.is_none());
        self.absent = look.absent;
        self.absent.extend(filesystems.reason.map(|reason| (&node::RESOURCES_FILESYSTEM_SIZE_BYTES, reason)));
        let over = |hidden: Option<usize>| hidden.unwrap_or_default();
        Node {
            numbers: look.numbers,
            hidden: vec![
                ("disk", "overflow", over(disks.as_ref().map(|(_, hidden)| *hidden))),
                ("interface", "overflow", over(interfaces.as_ref().map(|(_, hidden)| *hidden))),
                ("speed", "hanging", self.speeds.hanging()),
                ("filesystem", "overflow", filesystems.hidden.overflow),
                ("filesystem", "hanging", filesystems.hidden.hanging),
                ("filesystem", "failed", filesystems.hidden.failed),
            ],
            disks: disks.map(|(disks, _)| disks),
            interfaces: interfaces.map(|(interfaces, _)| interfaces),
            filesystems: filesystems.shown,
            gpus: self.gpus.read(),
            cloud: self.cloud.info(),
        }
    }

    /// Labels of the series of containers on this machine: zone and region of its cloud.
    pub fn container_labels(&self) -> Arc<Labels> {
        self.cloud.container_labels()
    }

    /// Says which metrics had no source at the last look, and why.
    pub fn absent(&self, absent: &mut Absent) {
        for (metric, reason) in &self.absent {
            absent.push(metric, reason);
        }
        if let Some(reason) = self.cloud.absent() {
            absent.push(&node::CLOUD_INFO, reason);
        }
        if let Some(reason) = self.gpus.absent() {
            absent.push(&node::GPU_INFO, reason);
        }
    }

    /// Whether cloud and GPUs have said what they will say for now.
    pub fn is_settled(&self) -> bool {
        !self.cloud.is_asking() && !self.gpus.may_be_loading()
    }

    /// Whether the cloud's region and zone are known, or nobody is asked for them.
    pub fn knows_cloud(&self) -> bool {
        self.cloud.is_known()
    }

    /// Files that could not be read or understood so far.
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

/// The host's root directory: process 1's, or the agent's own where that is closed to it (no CAP_SYS_PTRACE).
pub(crate) fn host_root(proc_root: &Path) -> PathBuf {
    let root = proc_root.join("1/root");
    if root.read_dir().is_ok() { root } else { PathBuf::from("/") }
}

#[cfg(test)]
mod tests;
