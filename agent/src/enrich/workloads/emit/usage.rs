//! What a workload's cgroup says, as series.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::{SECOND, Workloads};
use crate::enrich::workloads::files::Files;
use crate::model::{BootNanos, WorkloadIx};
use crate::registry::catalog::container::*;
use crate::registry::{Labels, Metric, SnapshotBuilder};
use crate::resources::{Cpu, DeviceId, DiskNames, Measured, Memory, Pressure, Reader, Resources, Tasks};

/// How long after its last process a cgroup's files are still looked at: one may have started since the last pass.
const READ_AFTER: u64 = 60 * SECOND;

/// Values of one metric by the values of its only label.
type Split<const N: usize> = LazyLock<[Arc<Labels>; N]>;
static KINDS: Split<2> = LazyLock::new(|| ["some", "full"].map(|kind| Labels::new([("kind", kind)])));
static EVENTS: Split<3> =
    LazyLock::new(|| ["high", "max", "oom"].map(|event| Labels::new([("event", event)])));

/// What the workloads of one snapshot read together.
pub(super) struct Sources {
    pub(super) now: BootNanos,
    pub(super) proc_root: PathBuf,
    pub(super) names: DiskNames,
    /// Names of the kubelet's volumes, once one is wanted.
    pub(super) kubelet: OnceCell<HashMap<DeviceId, Box<str>>>,
    /// Workloads whose mounts may still be read anew.
    pub(super) mounts_left: u32,
    reader: Reader,
}

/// Workloads whose mounts are read anew in one snapshot: a full node's within two minutes at the usual interval.
const MOUNTS_PER_SNAPSHOT: u32 = 32;

impl Sources {
    pub(super) fn new(proc_root: &Path, now: BootNanos) -> Self {
        Self {
            now,
            proc_root: proc_root.to_owned(),
            names: DiskNames::read(proc_root),
            kubelet: OnceCell::new(),
            mounts_left: MOUNTS_PER_SNAPSHOT,
            reader: Reader::default(),
        }
    }
}

/// Kills by the out-of-memory killer as a cgroup's file tells them. The file ends with the cgroup, and a container that
/// starts again has a new one: the count goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct OomKills {
    file: Option<u64>,
    total: u64,
}

impl OomKills {
    fn observe(&mut self, file: u64) {
        let before = self.file.replace(file).unwrap_or(0);
        self.total += file.checked_sub(before).unwrap_or(file);
    }

    fn total(self) -> Option<u64> {
        self.file.map(|_| self.total)
    }

    /// Goes on counting where another one stopped.
    pub(in super::super) fn succeed(&mut self, older: Self) {
        self.total += older.total;
        self.file = self.file.or(older.file.map(|_| 0));
    }
}

impl Workloads {
    pub(super) fn collect_resources(
        &mut self,
        builder: &mut SnapshotBuilder,
        ix: WorkloadIx,
        sources: &mut Sources,
        measured: &Measured<'_>,
    ) {
        let Some(record) = self.table.get_mut(ix) else { return };
        let has_cgroup = record.paths.v1.is_some() || record.paths.v2.is_some();
        let may_live =
            record.process.is_some() || sources.now.0.saturating_sub(record.last_seen.0) < READ_AFTER;
        let owner = record.labels.clone();
        let mut series = Series { builder, owner: &owner };
        let mut read = None;
        if has_cgroup && may_live {
            let read = read.insert(sources.reader.read(&self.mounts, &record.paths));
            series.cpu(&read.cpu);
            series.memory(&read.memory);
            series.tasks(read.tasks);
            series.pressure(&read.pressure);
            read.memory.events.oom_kill.into_iter().for_each(|kills| record.oom_kills.observe(kills));
        }
        if read.as_ref().is_none_or(|read: &Resources| read.tasks.current.is_none()) {
            series.count(&RESOURCES_TASKS, record.threads);
        }
        series.files(record.files);
        // Each misses some: events those before the agent's start, the file those of cgroups that are gone. `None` is
        // below every number.
        series.count(&OOM_KILLS_TOTAL, measured.oom_kills.max(record.oom_kills.total()));
        series.number(&RESOURCES_DISK_DELAY_SECONDS_TOTAL, measured.disk_delay_seconds);
        let counted = read.map(|read| read.disks).unwrap_or_default();
        self.collect_disks(builder, ix, sources, measured.disks.unwrap_or(&counted));
    }
}

/// Adds the series of one workload; what was not measured has none.
struct Series<'a> {
    builder: &'a mut SnapshotBuilder,
    owner: &'a Arc<Labels>,
}

impl Series<'_> {
    fn number(&mut self, metric: &'static Metric, value: Option<f64>) {
        if let Some(value) = value {
            self.builder.number(metric, self.owner, &Labels::empty(), value);
        }
    }

    fn count(&mut self, metric: &'static Metric, value: Option<u64>) {
        self.number(metric, value.map(|value| value as f64));
    }

    fn split<const N: usize>(
        &mut self,
        metric: &'static Metric,
        by: &[Arc<Labels>; N],
        values: [Option<f64>; N],
    ) {
        for (own, value) in by.iter().zip(values) {
            if let Some(value) = value {
                self.builder.number(metric, self.owner, own, value);
            }
        }
    }

    fn cpu(&mut self, cpu: &Cpu) {
        self.number(&RESOURCES_CPU_USAGE_SECONDS_TOTAL, cpu.usage_seconds);
        self.number(&RESOURCES_CPU_USER_SECONDS_TOTAL, cpu.user_seconds);
        self.number(&RESOURCES_CPU_SYSTEM_SECONDS_TOTAL, cpu.system_seconds);
        self.number(&RESOURCES_CPU_THROTTLED_SECONDS_TOTAL, cpu.throttled_seconds);
        self.count(&RESOURCES_CPU_PERIODS_TOTAL, cpu.periods);
        self.count(&RESOURCES_CPU_THROTTLED_PERIODS_TOTAL, cpu.throttled_periods);
        self.number(&RESOURCES_CPU_LIMIT_CORES, cpu.limit_cores);
    }

    fn memory(&mut self, memory: &Memory) {
        self.count(&RESOURCES_MEMORY_RSS_BYTES, memory.rss_bytes);
        self.count(&RESOURCES_MEMORY_CACHE_BYTES, memory.cache_bytes);
        self.count(&RESOURCES_MEMORY_WORKING_SET_BYTES, memory.working_set_bytes);
        self.count(&RESOURCES_MEMORY_SWAP_BYTES, memory.swap_bytes);
        self.count(&RESOURCES_MEMORY_SWAP_LIMIT_BYTES, memory.swap_limit_bytes);
        self.count(&RESOURCES_MEMORY_LIMIT_BYTES, memory.limit_bytes);
        self.count(&RESOURCES_MEMORY_EFFECTIVE_LIMIT_BYTES, memory.effective_limit_bytes);
        self.count(&RESOURCES_MEMORY_MAJOR_FAULTS_TOTAL, memory.major_faults);
        let events = [memory.events.high, memory.events.max, memory.events.oom];
        let events = events.map(|count| count.map(|count| count as f64));
        self.split(&RESOURCES_MEMORY_EVENTS_TOTAL, &EVENTS, events);
    }

    fn tasks(&mut self, tasks: Tasks) {
        self.count(&RESOURCES_TASKS, tasks.current);
        self.count(&RESOURCES_TASKS_LIMIT, tasks.limit);
    }

    fn files(&mut self, files: Option<Files>) {
        self.count(&RESOURCES_OPEN_FILES, files.map(|files| files.files));
        self.count(&RESOURCES_OPEN_SOCKETS, files.map(|files| files.sockets));
        self.number(&RESOURCES_OPEN_FILES_LIMIT_RATIO, files.and_then(|files| files.fill));
    }

    fn pressure(&mut self, pressure: &Pressure) {
        for (metric, stall) in [
            (&RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL, pressure.cpu),
            (&RESOURCES_MEMORY_PRESSURE_WAITING_SECONDS_TOTAL, pressure.memory),
            (&RESOURCES_IO_PRESSURE_WAITING_SECONDS_TOTAL, pressure.io),
        ] {
            self.split(metric, &KINDS, [stall.some_seconds, stall.full_seconds]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_over_the_life_of_several_cgroups() {
        let mut kills = OomKills::default();
        assert_eq!(kills.total(), None, "no file has told");
        for (file, total) in [(0, 0), (2, 2), (2, 2), (1, 3), (0, 3), (1, 4)] {
            kills.observe(file);
            assert_eq!(kills.total(), Some(total), "after the file said {file}");
        }
        let mut newer = OomKills::default();
        newer.succeed(kills);
        newer.observe(2);
        assert_eq!(newer.total(), Some(6));
    }
}
