//! What the kernel half measured of workloads beside their connections: victims of the OOM killer, waiting for disks, and
//! I/O where cgroup files count none.
//!
//! Bounded by the table of workloads, whose indices are the keys, times the disks of a machine.

use std::collections::{BTreeMap, HashMap};

use crate::model::{DeviceId, DiskIo, WorkloadIx};

/// I/O counters of one workload and device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads submitted.
    pub reads: u64,
    /// Writes submitted.
    pub writes: u64,
    /// Bytes of the reads.
    pub read_bytes: u64,
    /// Bytes of the writes.
    pub written_bytes: u64,
}

impl DiskCounts {
    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
    }
}

/// Of one workload.
#[derive(Debug, Default)]
struct Measurement {
    oom_kills: u64,
    disk_wait_ns: u64,
    disks: BTreeMap<DeviceId, DiskCounts>,
    /// `disks` as they are shown.
    shown: Vec<DiskIo>,
}

/// Of all workloads.
#[derive(Debug, Default)]
pub struct Measurements(HashMap<WorkloadIx, Measurement>);

impl Measurements {
    /// The OOM killer has chosen a process.
    pub fn oom_kill(&mut self, workload: WorkloadIx) {
        self.0.entry(workload).or_default().oom_kills += 1;
    }

    /// Threads waited for block devices, nanoseconds.
    pub fn disk_wait(&mut self, workload: WorkloadIx, ns: u64) {
        self.0.entry(workload).or_default().disk_wait_ns += ns;
    }

    /// I/O was submitted.
    pub fn disk_io(&mut self, workload: WorkloadIx, device: DeviceId, counts: DiskCounts) {
        let measurement = self.0.entry(workload).or_default();
        measurement.disks.entry(device).or_default().add(counts);
        measurement.show();
    }

    /// Victims of the OOM killer.
    pub fn oom_kills(&self, workload: WorkloadIx) -> u64 {
        self.0.get(&workload).map_or(0, |found| found.oom_kills)
    }

    /// Time waited for block devices, nanoseconds.
    pub fn disk_wait_ns(&self, workload: WorkloadIx) -> u64 {
        self.0.get(&workload).map_or(0, |found| found.disk_wait_ns)
    }

    /// I/O in order of the devices.
    pub fn disks(&self, workload: WorkloadIx) -> &[DiskIo] {
        self.0.get(&workload).map_or(&[], |found| &found.shown)
    }

    /// Two workloads turned out to be one.
    pub fn merge(&mut self, from: WorkloadIx, into: WorkloadIx) {
        let Some(merged) = self.0.remove(&from) else { return };
        let measurement = self.0.entry(into).or_default();
        measurement.oom_kills += merged.oom_kills;
        measurement.disk_wait_ns += merged.disk_wait_ns;
        for (device, counts) in merged.disks {
            measurement.disks.entry(device).or_default().add(counts);
        }
        measurement.show();
    }

    /// Forgets workloads that are gone.
    pub fn forget(&mut self, retired: &[WorkloadIx]) {
        for workload in retired {
            self.0.remove(workload);
        }
    }
}

impl Measurement {
    fn show(&mut self) {
        let show = |(device, counts): (&DeviceId, &DiskCounts)| DiskIo {
            reads: Some(counts.reads),
            writes: Some(counts.writes),
            read_bytes: Some(counts.read_bytes),
            written_bytes: Some(counts.written_bytes),
            ..DiskIo::new(*device)
        };
        self.shown = self.disks.iter().map(show).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDA: DeviceId = DeviceId { major: 8, minor: 0 };
    const SDB: DeviceId = DeviceId { major: 8, minor: 16 };

    fn counts(reads: u64, written_bytes: u64) -> DiskCounts {
        DiskCounts { reads, written_bytes, ..DiskCounts::default() }
    }

    fn shown(table: &Measurements, workload: u32) -> Vec<(DeviceId, Option<u64>, Option<u64>)> {
        let disks = table.disks(WorkloadIx(workload)).iter();
        disks.map(|disk| (disk.device, disk.reads, disk.written_bytes)).collect()
    }

    #[test]
    fn counts_add_up_follow_a_merge_and_end_with_their_workload() {
        let mut table = Measurements::default();
        for workload in [WorkloadIx(1), WorkloadIx(2)] {
            table.oom_kill(workload);
            table.disk_wait(workload, 5);
            table.disk_io(workload, SDB, counts(1, 10));
        }
        table.disk_io(WorkloadIx(2), SDA, counts(3, 0));
        table.disk_io(WorkloadIx(2), SDB, counts(1, 7));
        assert_eq!(shown(&table, 2), [(SDA, Some(3), Some(0)), (SDB, Some(2), Some(17))]);
        table.merge(WorkloadIx(2), WorkloadIx(1));
        assert_eq!((table.oom_kills(WorkloadIx(1)), table.disk_wait_ns(WorkloadIx(1))), (2, 10));
        assert_eq!(shown(&table, 1), [(SDA, Some(3), Some(0)), (SDB, Some(3), Some(27))]);
        assert_eq!((table.oom_kills(WorkloadIx(2)), shown(&table, 2)), (0, vec![]));
        table.forget(&[WorkloadIx(1)]);
        assert!(table.0.is_empty());
    }
}
