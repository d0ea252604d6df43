//! Optional probes: their histograms and counters as series, and giving one up when it costs more than it may.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sonde_abi::latency::{BOUNDS, DISK_FIRST, Latency, RUN_QUEUE_FIRST};

use super::watchdog::Watchdog;
use crate::enrich::Workloads;
use crate::kernel::{FeatureId, Keep, Kernel};
use crate::model::{BootNanos, Buckets, CgroupId, DeviceId, Histogram, HostPid, Origin, WorkloadIx};
use crate::registry::catalog::{agent, block, drops, sched};
use crate::registry::{Labels, SnapshotBuilder};
use crate::resources::DiskNames;
use crate::state::Latencies;

/// A cgroup or a disk for which nothing came for so long gives its place in the kernel half to another one.
const KEEP: Duration = Duration::from_secs(600);

const RUN_QUEUE_BOUNDS: [f64; BOUNDS] = powers(RUN_QUEUE_FIRST);
const RUN_QUEUE: Buckets = Buckets::new(&RUN_QUEUE_BOUNDS);
const DISK_BOUNDS: [f64; BOUNDS] = powers(DISK_FIRST);
const DISK: Buckets = Buckets::new(&DISK_BOUNDS);

/// The kernel half's bounds in seconds.
const fn powers(first: u32) -> [f64; BOUNDS] {
    let mut bounds = [0.0; BOUNDS];
    let mut index = 0;
    while index < BOUNDS {
        bounds[index] = (1_u64 << (first as usize + index)) as f64 / 1e9;
        index += 1;
    }
    bounds
}

/// A disk and whether it is its writes.
type DiskOperation = (DeviceId, bool);

/// What optional probes counted.
#[derive(Debug, Default)]
pub struct Optional {
    run_queues: Latencies<(CgroupId, CgroupId), WorkloadIx>,
    disks: Latencies<DiskOperation, DiskOperation>,
    watchdog: Watchdog,
    shed: BTreeMap<String, u64>,
}

impl Optional {
    /// Reads what the kernel half keeps.
    pub fn observe(&mut self, kernel: &mut Kernel, workloads: &mut Workloads, now: BootNanos) {
        let keep = |is_current| if is_current { Keep::Yes } else { Keep::No };
        let run_queues = &mut self.run_queues;
        kernel.run_queues(|key, total| {
            let (v1, v2) = (CgroupId(key.cgroup_v1), CgroupId(key.cgroup_v2));
            let origin = Origin { pid: HostPid(0), v1, v2, comm: "".into() };
            let owner = workloads.resolve_owner(&origin, now);
            keep(run_queues.observe((v1, v2), total, owner, now, KEEP))
        });
        let disks = &mut self.disks;
        kernel.disk_latencies(|key, total| {
            let disk = (DeviceId { major: key.major, minor: key.minor }, key.is_write != 0);
            keep(disks.observe(disk, total, Some(disk), now, KEEP))
        });
    }

    /// Gives up probes whose programs took more than their share of the CPUs since the last call.
    pub fn watch(&mut self, kernel: &mut Kernel, now: BootNanos) {
        let features =
            kernel.features().iter().filter(|status| status.id.is_optional() && status.verdict.is_ok());
        let running: Vec<FeatureId> = features.map(|status| status.id).collect();
        if running.is_empty() {
            return;
        }
        let programs: HashMap<String, Duration> =
            kernel.programs().into_iter().map(|program| (program.name, program.run_time)).collect();
        for feature in running {
            let taken = feature.programs().filter_map(|program| programs.get(program)).sum();
            if let Some(share) = self.watchdog.exceeded(feature, taken, now, kernel.cpus()) {
                let reason = format!(
                    "given up: its programs took {:.1} % of the CPUs, and may take {:.1} %",
                    share * 100.0,
                    Watchdog::BUDGET * 100.0
                );
                tracing::warn!(probe = %feature, %reason, "probe");
                kernel.shed(feature, reason);
                *self.shed.entry(feature.to_string()).or_default() += 1;
            }
        }
    }

    /// Two workloads turned out to be one.
    pub fn merge(&mut self, from: WorkloadIx, into: WorkloadIx) {
        self.run_queues.merge(from, into);
    }

    /// Forgets workloads that are gone.
    pub fn forget(&mut self, retired: &[WorkloadIx]) {
        self.run_queues.forget(retired);
    }

    /// Forgets disks that are gone: another one may get their number. Without any names nothing is known of that.
    fn forget_disks(&mut self, names: &DiskNames) {
        if !names.is_empty() {
            self.disks.retain(|(device, _)| names.name(*device).is_some());
        }
    }

    /// Adds the series; what is of disks that have no name any more is forgotten.
    pub fn collect(
        &mut self,
        kernel: &Kernel,
        workloads: &Workloads,
        names: &DiskNames,
        builder: &mut SnapshotBuilder,
        now: BootNanos,
    ) {
        self.forget_disks(names);
        let none = Labels::empty();
        for (workload, latency) in self.run_queues.iter() {
            if workloads.is_exported(workload, now) {
                let value = histogram(RUN_QUEUE, latency);
                builder.histogram(
                    &sched::RUNQUEUE_LATENCY_SECONDS,
                    workloads.labels(workload),
                    &none,
                    &value,
                );
            }
        }
        for ((device, is_write), latency) in self.disks.iter() {
            let Some(name) = names.name(device) else { continue };
            let metric = if is_write { &block::WRITE_LATENCY_SECONDS } else { &block::READ_LATENCY_SECONDS };
            builder.histogram(metric, &none, &Labels::new([("device", name)]), &histogram(DISK, latency));
        }
        for (reason, count) in kernel.drops() {
            builder.number(&drops::DROPPED_TOTAL, &none, &Labels::new([("reason", reason)]), count as f64);
        }
        for (probe, count) in &self.shed {
            let own = Labels::new([("probe", probe.as_str())]);
            builder.number(&agent::PROBES_SHED_TOTAL, &none, &own, *count as f64);
        }
    }
}

fn histogram(buckets: Buckets, latency: &Latency) -> Arc<Histogram> {
    let sum = latency.sum_ns as f64 / 1e9;
    let histogram = Histogram::from_counts(buckets, latency.counts, sum);
    Arc::new(histogram.unwrap_or_else(|| Histogram::new(buckets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_the_number_of_one_that_is_gone_begins_at_zero() {
        let directory = tempfile::tempdir().unwrap();
        let names = |text: &str| {
            std::fs::write(directory.path().join("diskstats"), text).unwrap();
            DiskNames::read(directory.path())
        };
        let mut optional = Optional::default();
        let writes = |minor| (DeviceId { major: 8, minor }, true);
        let latency = |count, sum_ns| {
            let mut latency = Latency { sum_ns, ..Latency::default() };
            latency.counts[3] = count;
            latency
        };
        let mut pass = |minor, count, sum_ns, names: DiskNames| {
            let key = writes(minor);
            optional.disks.observe(key, &latency(count, sum_ns), Some(key), BootNanos(1), KEEP);
            optional.forget_disks(&names);
            let mut shown: Vec<_> =
                optional.disks.iter().map(|((device, _), it)| (device.minor, *it)).collect();
            shown.sort_by_key(|(minor, _)| *minor);
            shown
        };
        let both = "8 0 sda 1\n8 16 sdb 1\n";
        assert_eq!(pass(0, 4, 40, names(both)), [(0, latency(4, 40))]);
        assert_eq!(pass(16, 7, 70, names(both)), [(0, latency(4, 40)), (16, latency(7, 70))]);
        let unreadable = pass(16, 7, 70, names(""));
        assert_eq!(unreadable, [(0, latency(4, 40)), (16, latency(7, 70))], "nothing is known of the names");
        assert_eq!(pass(16, 8, 80, names("8 0 sda 1\n")), [(0, latency(4, 40))], "it is gone");
        assert_eq!(pass(16, 10, 95, names(both)), [(0, latency(4, 40)), (16, latency(2, 15))], "another one");
    }

    #[test]
    fn bounds_are_the_kernel_halfs() {
        assert_eq!(RUN_QUEUE.bounds()[0], 4.096e-6);
        assert_eq!(RUN_QUEUE.bounds()[BOUNDS - 1], 0.536870912);
        assert_eq!((DISK.bounds()[0], DISK.bounds()[BOUNDS - 1]), (1.6384e-5, 2.147483648));
    }
}
