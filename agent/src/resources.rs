//! What a cgroup uses and what it waits for, read from its files.
//!
//! Under a hybrid layout each controller is read from the hierarchy that has it: usage from v1 beside pressure from
//! v2. What a kernel does not tell is `None`, never zero.

mod counted;
mod disk;
mod explain;
pub(crate) mod files;
mod measured;
pub(crate) mod mountinfo;
mod mounts;
mod pressure;
mod space;
mod sum;
mod v1;
mod v2;
mod volumes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use files::{Files, Roots};

use crate::model::DiskIo;

pub use counted::counts_disks;
pub use disk::DiskNames;
pub use explain::explain;
#[cfg(test)]
pub use measured::FilesOnly;
pub use measured::{Measure, Measured};
pub use mounts::{CgroupMounts, Controller, HierarchyRoot, Layout};
pub use pressure::{Pressure, Stall};
pub use space::{Question, Space, Surveyor, surveyor};
pub use volumes::{Volume, by_disk, kubelet_volumes, volumes};

/// CPU of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Time used.
    pub usage_seconds: Option<f64>,
    /// Of this in user mode.
    pub user_seconds: Option<f64>,
    /// Of this in the kernel.
    pub system_seconds: Option<f64>,
    /// Time during which the quota kept it from running.
    pub throttled_seconds: Option<f64>,
    /// Periods of the quota in which it ran.
    pub periods: Option<u64>,
    /// Of these the ones in which it used the quota up.
    pub throttled_periods: Option<u64>,
    /// Quota in cores; `None` also without a limit.
    pub limit_cores: Option<f64>,
}

impl Cpu {
    fn with_time_of(self, other: Self) -> Self {
        let Self { usage_seconds, user_seconds, system_seconds, .. } = other;
        Self { usage_seconds, user_seconds, system_seconds, ..self }
    }
}

/// Memory of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous and mapped memory.
    pub rss_bytes: Option<u64>,
    /// Page cache.
    pub cache_bytes: Option<u64>,
    /// What cannot be had back by dropping inactive page cache, as the kubelet defines it.
    pub working_set_bytes: Option<u64>,
    /// Swap used.
    pub swap_bytes: Option<u64>,
    /// Limit; `None` also without one.
    pub limit_bytes: Option<u64>,
    /// The smallest limit of the group and of those around it; `None` also without any.
    pub effective_limit_bytes: Option<u64>,
    /// Limit of swap; `None` also without one.
    pub swap_limit_bytes: Option<u64>,
    /// Page faults that had to read from a disk.
    pub major_faults: Option<u64>,
    /// How often it met its limits.
    pub events: MemoryEvents,
}

/// How often a cgroup met its limits of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// It was above `memory.high` and throttled.
    pub high: Option<u64>,
    /// It was about to exceed the limit.
    pub max: Option<u64>,
    /// An allocation was about to fail for the limit.
    pub oom: Option<u64>,
    /// A process was killed for want of memory.
    pub oom_kill: Option<u64>,
}

/// Threads of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Threads there are.
    pub current: Option<u64>,
    /// Limit; `None` also without one.
    pub limit: Option<u64>,
}

/// Everything that is read of one cgroup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// CPU.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Threads.
    pub tasks: Tasks,
    /// Stalls for want of a resource.
    pub pressure: Pressure,
    /// I/O per device, in order of the device numbers.
    pub disks: Vec<DiskIo>,
}

/// The paths of one cgroup in the two kinds of hierarchies, relative to their roots.
///
/// Where only one is known the other is assumed to be the same: container runtimes and systemd use equal paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CgroupPaths {
    /// In the v1 hierarchies.
    pub v1: Option<Box<str>>,
    /// In the unified hierarchy.
    pub v2: Option<Box<str>>,
}

impl CgroupPaths {
    fn v1(&self) -> Option<&str> {
        self.v1.as_deref().or(self.v2.as_deref())
    }

    fn v2(&self) -> Option<&str> {
        self.v2.as_deref().or(self.v1.as_deref())
    }
}

/// Where I/O per device comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskSource {
    /// The files of cgroups.
    Files,
    /// The kernel half counts it; the files are not read.
    Programs,
}

/// Reads the files of cgroups, those of one snapshot by one reader: what containers share is then read once.
#[derive(Debug)]
pub struct Reader {
    disks: DiskSource,
    roots: Roots,
    buffer: Vec<u8>,
    /// Limits of memory that apply to the groups below a path of the unified hierarchy.
    inherited: HashMap<Box<str>, Option<u64>>,
}

impl Reader {
    /// A reader that has read nothing.
    pub fn new(disks: DiskSource) -> Self {
        Self { disks, roots: Roots::default(), buffer: Vec::new(), inherited: HashMap::new() }
    }

    /// Reads the files of a cgroup. A file that is absent or malformed leaves its values `None`.
    pub fn read(&mut self, mounts: &CgroupMounts, paths: &CgroupPaths) -> Resources {
        let disks = self.disks;
        let mut read = Resources::default();
        self.read_v1(mounts, paths, &mut read);
        let has = |controller| mounts.v1(controller).is_some();
        let Some((mount, path)) = mounts.v2().zip(paths.v2()) else { return read };
        if !has(Controller::Memory) {
            read.memory.effective_limit_bytes = self.inherited(mount, parent(path));
        }
        let Some(mut files) = self.open(Some(mount), path) else { return read };
        if read.cpu.usage_seconds.is_none() || !has(Controller::Cpu) {
            let (time, limits) = (read.cpu, v2::cpu(&mut files));
            // The unified hierarchy counts time in any case, also of a group that has no directory under `cpuacct`.
            read.cpu = if time.usage_seconds.is_some() { limits.with_time_of(time) } else { limits };
            if has(Controller::Cpu) {
                read.cpu = time.with_time_of(read.cpu);
            }
        }
        if !has(Controller::Memory) {
            let inherited = read.memory.effective_limit_bytes;
            read.memory = v2::memory(&mut files);
            read.memory.effective_limit_bytes = smaller(read.memory.limit_bytes, inherited);
        }
        if !has(Controller::Pids) {
            read.tasks = v2::tasks(&mut files);
        }
        if !has(Controller::Blkio) && disks == DiskSource::Files {
            read.disks = v2::disks(&mut files);
        }
        read.pressure = pressure::read(&mut files);
        read
    }

    fn read_v1(&mut self, mounts: &CgroupMounts, paths: &CgroupPaths, read: &mut Resources) {
        let Some(path) = paths.v1() else { return };
        if let Some(mut files) = self.open(mounts.v1(Controller::CpuAcct), path) {
            read.cpu = v1::cpu_time(&mut files, rustix::param::clock_ticks_per_second().max(1) as f64);
        }
        if let Some(mut files) = self.open(mounts.v1(Controller::Cpu), path) {
            v1::cpu_limits(&mut files, &mut read.cpu);
        }
        if let Some(mut files) = self.open(mounts.v1(Controller::Memory), path) {
            read.memory = v1::memory(&mut files);
        }
        if let Some(mut files) = self.open(mounts.v1(Controller::Pids), path) {
            read.tasks = v1::tasks(&mut files);
        }
        if self.disks == DiskSource::Files
            && let Some(mut files) = self.open(mounts.v1(Controller::Blkio), path)
        {
            read.disks = v1::disks(&mut files);
        }
    }

    /// The smallest limit of memory at a path of the unified hierarchy and above it, as far as the mount reaches.
    fn inherited(&mut self, mount: &Path, path: &str) -> Option<u64> {
        if path.is_empty() {
            return None;
        }
        if let Some(known) = self.inherited.get(path) {
            return *known;
        }
        let own = self.open(Some(mount), path).and_then(|mut files| v2::memory_limit(&mut files));
        let limit = smaller(own, self.inherited(mount, parent(path)));
        self.inherited.insert(path.into(), limit);
        limit
    }

    fn open(&mut self, mount: Option<&Path>, path: &str) -> Option<Files<'_>> {
        Files::open(&mut self.roots, mount?, path, &mut self.buffer)
    }
}

/// `/a/b` stands in `/a`, and `/a` in the root, which is empty and has no limits.
fn parent(path: &str) -> &str {
    path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Memory in use without the page cache that is dropped first.
fn working_set(usage: Option<u64>, inactive_file: Option<u64>) -> Option<u64> {
    Some(usage?.saturating_sub(inactive_file?))
}

/// A cgroup's directory. The path is absolute within its hierarchy, so it must not replace the mount point.
pub(crate) fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
