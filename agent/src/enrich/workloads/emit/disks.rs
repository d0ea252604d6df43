//! The disks that a workload works on, as series.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use super::usage::Sources;
use super::{REFRESH, Workloads};
use crate::model::{BootNanos, WorkloadIx};
use crate::registry::catalog::container::*;
use crate::registry::{Labels, SnapshotBuilder};
use crate::resources::{self, DeviceId, DiskIo, DiskNames};

/// Labels of a workload's disks, with the time they were made.
#[derive(Debug, Default)]
pub(in super::super) struct Disks {
    read_at: BootNanos,
    labels: HashMap<DeviceId, Arc<Labels>>,
}

impl Workloads {
    pub(super) fn collect_disks(
        &mut self,
        builder: &mut SnapshotBuilder,
        ix: WorkloadIx,
        sources: &Sources,
        disks: &[DiskIo],
    ) {
        let Some(record) = self.table.get_mut(ix).filter(|_| !disks.is_empty()) else { return };
        let known = &mut record.disks;
        if known.labels.is_empty() || sources.now.0.saturating_sub(known.read_at.0) >= REFRESH {
            let mountinfo =
                record.process.map(|pid| self.settings.proc_root.join(format!("{}/mountinfo", pid.0)));
            let mountinfo = mountinfo.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
            let mut labels = disk_labels(disks, &mountinfo, &sources.names);
            // A process that is gone shows no mounts: what it showed before stays.
            if mountinfo.is_empty() {
                labels.extend(std::mem::take(&mut known.labels));
            }
            *known = Disks { read_at: sources.now, labels };
        }
        for disk in disks {
            if let Some(own) = known.labels.get(&disk.device) {
                emit_disk(builder, &record.labels, own, disk);
            }
        }
    }
}

/// One series per device: what a device did for a container is told once, however often it is mounted there. A device
/// without a name has no series; one that the container does not see mounted, as below an overlay, has no mount point.
fn disk_labels(disks: &[DiskIo], mountinfo: &str, names: &DiskNames) -> HashMap<DeviceId, Arc<Labels>> {
    let mounts = resources::mount_points(mountinfo, names);
    let labels = disks.iter().filter_map(|disk| {
        let mut pairs = vec![("device", names.name(disk.device)?)];
        if let Some(mount) = mounts.get(&disk.device) {
            pairs.extend([("mount_point", &*mount.path), ("volume", &*mount.volume)]);
        }
        Some((disk.device, Labels::new(pairs)))
    });
    labels.collect()
}

fn emit_disk(builder: &mut SnapshotBuilder, owner: &Arc<Labels>, own: &Arc<Labels>, disk: &DiskIo) {
    let values = [
        (&RESOURCES_DISK_READS_TOTAL, disk.reads),
        (&RESOURCES_DISK_WRITES_TOTAL, disk.writes),
        (&RESOURCES_DISK_READ_BYTES_TOTAL, disk.read_bytes),
        (&RESOURCES_DISK_WRITTEN_BYTES_TOTAL, disk.written_bytes),
        (&RESOURCES_DISK_DISCARDS_TOTAL, disk.discards),
        (&RESOURCES_DISK_DISCARDED_BYTES_TOTAL, disk.discarded_bytes),
    ];
    for (metric, value) in values {
        if let Some(value) = value {
            builder.number(metric, owner, own, value as f64);
        }
    }
}
