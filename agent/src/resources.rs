//! What a cgroup uses and what it waits for, read from its files.
//!
//! Under a hybrid layout each controller is read from the hierarchy that has it: usage from v1 beside pressure from
//! v2. What a kernel does not tell is `None`, never zero.

mod disk;
pub(crate) mod files;
mod mounts;
mod pressure;
mod v1;
mod v2;

use std::path::PathBuf;

pub use disk::{DeviceId, DiskIo, DiskNames, MountPoint, mount_points};
pub use mounts::{CgroupMounts, Controller, HierarchyRoot, Layout};
pub use pressure::{Pressure, Stall};

/// CPU of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Time used.
    pub usage_seconds: Option<f64>,
    /// Time during which the quota kept it from running.
    pub throttled_seconds: Option<f64>,
    /// Quota in cores; `None` also without a limit.
    pub limit_cores: Option<f64>,
}

/// Memory of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous and mapped memory.
    pub rss_bytes: Option<u64>,
    /// Page cache.
    pub cache_bytes: Option<u64>,
    /// Limit; `None` also without one.
    pub limit_bytes: Option<u64>,
}

/// Everything that is read of one cgroup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// CPU.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
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

/// Reads the files of a cgroup. A file that is absent or malformed leaves its values `None`.
pub fn read(mounts: &CgroupMounts, paths: &CgroupPaths) -> Resources {
    let v1 = |controller| -> Option<PathBuf> { Some(below(mounts.v1(controller)?, paths.v1()?)) };
    let v2 = mounts.v2().zip(paths.v2()).map(|(mount, path)| below(mount, path));
    let v2 = v2.as_deref();
    let mut cpu = match v1(Controller::CpuAcct) {
        Some(dir) => Cpu { usage_seconds: v1::cpu_usage_seconds(&dir), ..Cpu::default() },
        None => v2.map(v2::cpu).unwrap_or_default(),
    };
    if let Some(dir) = v1(Controller::Cpu) {
        cpu.throttled_seconds = v1::throttled_seconds(&dir);
        cpu.limit_cores = v1::cpu_limit_cores(&dir);
    }
    let memory = match v1(Controller::Memory) {
        Some(dir) => v1::memory(&dir),
        None => v2.map(v2::memory).unwrap_or_default(),
    };
    let disks = match v1(Controller::Blkio) {
        Some(dir) => v1::disks(&dir),
        None => v2.map(v2::disks).unwrap_or_default(),
    };
    Resources { cpu, memory, pressure: v2.map(pressure::read).unwrap_or_default(), disks }
}

/// A cgroup's directory. The path is absolute within its hierarchy, so it must not replace the mount point.
pub(crate) fn below(mount: &std::path::Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
