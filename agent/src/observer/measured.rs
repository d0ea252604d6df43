//! What the kernel half measured of workloads, as far as its programs run: without one, "none seen" is not zero.

use crate::enrich::Workloads;
use crate::kernel::{FeatureId, Kernel};
use crate::model::WorkloadIx;
use crate::resources::{DiskSource, Measure, Measured};
use crate::state::Measurements;

/// The table of measurements, and which of them are made.
pub(super) struct View<'a> {
    measurements: &'a Measurements,
    has_oom_kills: bool,
    has_disk_delay: bool,
    has_disk_io: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(measurements: &'a Measurements, kernel: &Kernel, workloads: &Workloads) -> Self {
        Self {
            measurements,
            has_oom_kills: kernel.has(FeatureId::ProcessOom),
            has_disk_delay: workloads.counts_disk_delay(),
            has_disk_io: kernel.has(FeatureId::DiskIo),
        }
    }
}

impl Measure for View<'_> {
    fn measured(&self, workload: WorkloadIx) -> Measured<'_> {
        let seconds = || self.measurements.disk_wait_ns(workload) as f64 / 1e9;
        Measured {
            oom_kills: self.has_oom_kills.then(|| self.measurements.oom_kills(workload)),
            disk_delay_seconds: self.has_disk_delay.then(seconds),
            disks: self.has_disk_io.then(|| self.measurements.disks(workload)),
        }
    }

    fn disk_source(&self) -> DiskSource {
        if self.has_disk_io { DiskSource::Programs } else { DiskSource::Files }
    }
}
