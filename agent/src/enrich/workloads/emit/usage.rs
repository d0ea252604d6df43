//! What a workload's cgroup says, as series.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::{SECOND, Workloads};
use crate::enrich::workloads::files::Files;
use crate::model::{BootNanos, DeviceId, WorkloadIx};
use crate::registry::catalog::container::*;
use crate::registry::{Labels, Metric, SnapshotBuilder};
use crate::resources::{Cpu, DiskNames, DiskSource, Measured, Memory, Pressure, Reader, Resources, Tasks};

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
    pub(super) fn new(proc_root: &Path, disks: DiskSource, now: BootNanos) -> Self {
        Self {
            now,
            proc_root: proc_root.to_owned(),
            names: DiskNames::read(proc_root),
            kubelet: OnceCell::new(),
            mounts_left: MOUNTS_PER_SNAPSHOT,
            reader: Reader::new(disks),
        }
    }
}

/// Kills by the out-of-memory killer. Each of two sources misses some: events those before the agent's start, a cgroup's
/// file those that came after its last reading when the cgroup ends with its container's first process. What the file
/// told at first beyond the events is a base below them; afterwards both count the same kills, and the higher one is
/// right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct OomKills {
    /// What the file of the own cgroup said last.
    file: Option<u64>,
    /// What files told: a container that starts again has a new one, and the count goes on.
    told: Option<u64>,
    /// Kills that are only in files.
    base: u64,
}

impl OomKills {
    /// Takes in what the cgroup's file says, and what events told by now.
    fn observe(&mut self, file: u64, events: Option<u64>) {
        let before = self.file.replace(file);
        let news = before.and_then(|before| file.checked_sub(before)).unwrap_or(file);
        let told = self.told.unwrap_or(0) + news;
        self.told = Some(told);
        // Only the first time: later the file may be ahead of an event that is still on its way.
        if before.is_none() {
            self.base = self.base.max(told.saturating_sub(events.unwrap_or(0)));
        }
    }

    /// What the file of the own cgroup said last.
    pub(in super::super) fn file(self) -> Option<u64> {
        self.file
    }

    /// Takes in kills that only the file of another cgroup of the workload told.
    pub(in super::super) fn add(&mut self, news: u64) {
        self.told = Some(self.told.unwrap_or(0) + news);
    }

    /// All kills that are known, given what events told by now; `None` where there is no source.
    fn total(self, events: Option<u64>) -> Option<u64> {
        // `None` is below every number.
        events.map(|events| self.base + events).max(self.told)
    }

    /// Goes on counting where another one stopped, as the events do.
    pub(in super::super) fn succeed(&mut self, older: Self) {
        self.base += older.base;
        self.told = self.told.map_or(older.told, |told| Some(told + older.told.unwrap_or(0)));
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
        let has_cgroup =
            record.paths.v1.is_some() || record.paths.v2.is_some() || record.together.has_others();
        let may_live = record.process.is_some() || sources.now.since(record.last_seen) < READ_AFTER;
        let owner = record.labels.clone();
        let mut series = Series { builder, owner: &owner };
        let mut read = None;
        if has_cgroup && may_live {
            let (all, own_kills) = record.read(&mut sources.reader, &self.mounts);
            let read = read.insert(all);
            series.cpu(&read.cpu);
            series.memory(&read.memory);
            series.tasks(read.tasks);
            series.pressure(&read.pressure);
            if let Some(kills) = own_kills {
                record.oom_kills.observe(kills, measured.oom_kills);
            }
        }
        if read.as_ref().is_none_or(|read: &Resources| read.tasks.current.is_none()) {
            series.count(&RESOURCES_TASKS, record.threads);
        }
        series.files(record.files);
        series.count(&OOM_KILLS_TOTAL, record.oom_kills.total(measured.oom_kills));
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
        assert_eq!(kills.total(None), None, "nothing has told");
        for (file, total) in [(0, 0), (2, 2), (2, 2), (1, 3), (0, 3), (1, 4)] {
            kills.observe(file, None);
            assert_eq!(kills.total(None), Some(total), "after the file said {file}");
        }
        let mut newer = OomKills::default();
        newer.succeed(kills);
        assert_eq!(newer.total(None), Some(4));
        newer.observe(2, None);
        assert_eq!(newer.total(None), Some(6));
    }

    #[test]
    fn a_kill_that_ends_the_cgroup_is_added_to_those_before_the_agent() {
        let mut kills = OomKills::default();
        let mut shown = |file: Option<u64>, events| {
            file.into_iter().for_each(|file| kills.observe(file, Some(events)));
            kills.total(Some(events))
        };
        assert_eq!(shown(Some(5), 0), Some(5), "before the agent's start");
        assert_eq!(shown(None, 1), Some(6), "the first process, and its cgroup with it");
        assert_eq!(shown(Some(0), 1), Some(6), "it was started again");
        assert_eq!(shown(Some(1), 1), Some(6), "an event is on its way");
        assert_eq!(shown(Some(1), 2), Some(7));
        assert_eq!(shown(Some(3), 4), Some(9), "both sources count the same kills");
    }

    #[test]
    fn kills_that_the_file_tells_ahead_of_their_events_count_once() {
        let mut kills = OomKills::default();
        assert_eq!(kills.total(Some(2)), Some(2), "events alone");
        for (file, events, total) in [(2, 2, 2), (3, 2, 3), (3, 3, 3), (4, 4, 4)] {
            kills.observe(file, Some(events));
            assert_eq!(kills.total(Some(events)), Some(total), "{file} in the file, {events} events");
        }
    }

    #[test]
    fn kills_before_the_agent_are_kept_when_two_containers_turn_out_to_be_one() {
        let (mut older, mut newer) = (OomKills::default(), OomKills::default());
        older.observe(5, Some(0));
        newer.succeed(older);
        assert_eq!(newer.total(Some(1)), Some(6), "one more event of the older one");
        newer.observe(0, Some(1));
        assert_eq!(newer.total(Some(1)), Some(6));
        newer.observe(1, Some(2));
        assert_eq!(newer.total(Some(2)), Some(7));
        let mut known = OomKills::default();
        known.observe(3, Some(1));
        known.succeed(older);
        assert_eq!(known.total(Some(1)), Some(8), "five and two before the agent, and one event");
    }
}
