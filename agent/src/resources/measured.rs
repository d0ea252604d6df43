//! What the kernel half measured of a workload where files do not tell, or tell less.

use super::DiskSource;
use crate::model::{DiskIo, WorkloadIx};

/// Values of one workload. `None` means "not measured".
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured<'a> {
    /// Victims of the out-of-memory killer, seen as events: unlike the cgroup's file they outlast the cgroup.
    pub oom_kills: Option<u64>,
    /// Time that threads waited for block devices, seconds.
    pub disk_delay_seconds: Option<f64>,
    /// I/O per device. Once it is measured the cgroup's files are no source any more: they begin to count when somebody
    /// sets a limit or enables the controller, with other numbers.
    pub disks: Option<&'a [DiskIo]>,
}

/// Knows what was measured.
pub trait Measure {
    /// Values of a workload.
    fn measured(&self, workload: WorkloadIx) -> Measured<'_>;

    /// Where I/O per device comes from; the same for all workloads.
    fn disk_source(&self) -> DiskSource;
}

/// Measures nothing: there are only files.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FilesOnly;

#[cfg(test)]
impl Measure for FilesOnly {
    fn measured(&self, _: WorkloadIx) -> Measured<'_> {
        Measured::default()
    }

    fn disk_source(&self) -> DiskSource {
        DiskSource::Files
    }
}
