//! The records by index, by key and by label.
//!
//! No two workloads have the same `container_id`: a container that takes a name that another one had is the same
//! workload from then on, under the index that was there first, and goes on with its counts.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use regex::Regex;

use super::record::{Key, Record, labels};
use super::{COMM_LEN, Workloads};
use crate::enrich::metadata::ContainerMetadata;
use crate::model::{BootNanos, UnixMillis, WorkloadIx};

/// Which `container_id`s are shown.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) allow: Vec<Regex>,
    pub(super) deny: Vec<Regex>,
}

impl Filter {
    fn passes(&self, container_id: &str) -> bool {
        let matches = |list: &[Regex]| list.iter().any(|regex| regex.is_match(container_id));
        (self.allow.is_empty() || matches(&self.allow)) && !matches(&self.deny)
    }
}

/// Two workloads that turned out to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The index that is no more.
    pub from: WorkloadIx,
    /// The index under which both go on.
    pub into: WorkloadIx,
}

#[derive(Debug)]
pub(super) struct Table {
    records: HashMap<WorkloadIx, Record>,
    by_key: HashMap<Key, WorkloadIx>,
    by_container_id: HashMap<Box<str>, WorkloadIx>,
    overflow: Record,
    filter: Filter,
    next: u32,
    max: usize,
    keep_gone: u64,
    /// Forgotten since the last [`retire`](Self::retire).
    evicted: Vec<WorkloadIx>,
    /// When there was no room and none could be made.
    crowded_at: Option<BootNanos>,
}

const SECOND: u64 = 1_000_000_000;
/// Containers of one name that may live at once, besides the youngest one. A cronjob has no end of them.
pub(super) const MAX_ALIASES: usize = 8;
/// Even in need of room a workload is shown this long after it was last seen, so that its last counts are collected.
const KEEP_GONE_IN_NEED: u64 = 60 * SECOND;

impl Table {
    pub(super) fn new(max: usize, keep_gone: Duration, filter: Filter) -> Self {
        let mut overflow = Record::new(Key::Executable("overflow".into()), BootNanos(0), false);
        overflow.container_id = "/overflow".into();
        overflow.labels = labels("/overflow");
        Self {
            records: HashMap::new(),
            by_key: HashMap::new(),
            by_container_id: HashMap::new(),
            overflow,
            filter,
            evicted: Vec::new(),
            crowded_at: None,
            next: Workloads::OVERFLOW.0 + 1,
            max,
            keep_gone: u64::try_from(keep_gone.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn get(&self, ix: WorkloadIx) -> Option<&Record> {
        self.records.get(&ix)
    }

    pub(super) fn get_mut(&mut self, ix: WorkloadIx) -> Option<&mut Record> {
        self.records.get_mut(&ix)
    }

    pub(super) fn find(&self, key: &Key) -> Option<WorkloadIx> {
        self.by_key.get(key).copied()
    }

    pub(super) fn overflow(&self) -> &Record {
        &self.overflow
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// All workloads in the order they were made.
    pub(super) fn indices(&self) -> Vec<WorkloadIx> {
        let mut indices: Vec<_> = self.records.keys().copied().collect();
        indices.sort_unstable();
        indices
    }

    /// The name of the executable that begins with a name the kernel has cut.
    pub(super) fn executable_with(&self, comm: &str) -> Option<&str> {
        self.records.values().find_map(|record| match &record.key {
            Key::Executable(name) if name.len() > COMM_LEN && name.starts_with(comm) => Some(&**name),
            _ => None,
        })
    }

    /// Adds a workload, or `None` when the table is full of those who live or went a moment ago.
    pub(super) fn insert(&mut self, record: Record) -> Option<WorkloadIx> {
        if self.records.len() >= self.max {
            self.make_room(record.created);
        }
        if self.records.len() >= self.max {
            return None;
        }
        let ix = WorkloadIx(self.next);
        self.next += 1;
        self.by_key.insert(record.key.clone(), ix);
        self.records.insert(ix, Record { number: ix, ..record });
        // A new index has no rows anywhere yet, so nobody needs to be told.
        Some(self.take_name(ix).map_or(ix, |merged| merged.into))
    }

    /// Names a container by its metadata, unless the index is another container's by now.
    pub(super) fn name(
        &mut self,
        ix: WorkloadIx,
        id: &str,
        metadata: ContainerMetadata,
        now: Option<UnixMillis>,
    ) -> Option<Merged> {
        let record = self.records.get_mut(&ix).filter(|record| record.has_id(id))?;
        if self.by_container_id.get(&record.container_id) == Some(&ix) {
            self.by_container_id.remove(&record.container_id);
        }
        record.describe(metadata, now);
        self.take_name(ix)
    }

    /// Whether a workload has this `container_id`.
    pub(super) fn is_taken(&self, container_id: &str) -> bool {
        self.by_container_id.contains_key(container_id)
    }

    /// Forgets what is gone long enough. See [`Workloads::retired`].
    pub(super) fn retire(&mut self, now: BootNanos, evicted: &mut u64) -> Vec<WorkloadIx> {
        let mut retired = std::mem::take(&mut self.evicted);
        *evicted += retired.len() as u64;
        let done: Vec<_> =
            self.records.iter().filter(|(_, record)| self.is_done(record, now)).map(|(ix, _)| *ix).collect();
        done.iter().for_each(|ix| self.remove(*ix));
        retired.extend(done);
        let room = self.max - self.max / 8;
        let gone = self.gone_longest(self.records.len().saturating_sub(room), now);
        gone.iter().for_each(|ix| self.remove(*ix));
        *evicted += gone.len() as u64;
        retired.extend(gone);
        retired.sort_unstable();
        retired
    }

    fn is_done(&self, record: &Record, now: BootNanos) -> bool {
        gone_for(record, now) >= self.keep_gone
    }

    /// At most so many workloads that went long enough ago to be forgotten in need of room, the ones gone longest first.
    fn gone_longest(&self, count: usize, now: BootNanos) -> Vec<WorkloadIx> {
        if count == 0 {
            return Vec::new();
        }
        let gone = self.records.iter().filter(|(_, record)| gone_for(record, now) >= KEEP_GONE_IN_NEED);
        let mut gone: Vec<_> = gone.map(|(ix, record)| (record.last_seen, *ix)).collect();
        gone.sort_unstable();
        gone.into_iter().map(|(_, ix)| ix).take(count).collect()
    }

    /// Makes room between two visits of the collector of garbage, for an eighth of the table at once. The other tables are
    /// told by the next [`retire`](Self::retire); meanwhile what they hold of the evicted is not shown.
    fn make_room(&mut self, now: BootNanos) {
        if self.crowded_at.is_some_and(|at| now.since(at) < SECOND) {
            return;
        }
        let gone = self.gone_longest((self.max / 8).max(1), now);
        self.crowded_at = gone.is_empty().then_some(now);
        gone.iter().for_each(|ix| self.remove(*ix));
        self.evicted.extend(gone);
    }

    /// Rows, keys, names, and those who wait to be told: how many there are, and how many there is room for.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [(usize, usize); 4] {
        [
            (self.records.len(), self.records.capacity()),
            (self.by_key.len(), self.by_key.capacity()),
            (self.by_container_id.len(), self.by_container_id.capacity()),
            (self.evicted.len(), self.evicted.capacity()),
        ]
    }

    fn remove(&mut self, ix: WorkloadIx) {
        let Some(record) = self.records.remove(&ix) else { return };
        record.aliases.iter().chain([&record.key]).for_each(|key| {
            self.by_key.remove(key);
        });
        if self.by_container_id.get(&record.container_id) == Some(&ix) {
            self.by_container_id.remove(&record.container_id);
        }
    }

    /// Settles what follows from a new `container_id`: whether it is shown, and whose it was.
    fn take_name(&mut self, ix: WorkloadIx) -> Option<Merged> {
        let record = self.records.get_mut(&ix)?;
        record.is_allowed = self.filter.passes(&record.container_id);
        let other =
            self.by_container_id.insert(record.container_id.clone(), ix).filter(|other| *other != ix)?;
        let merged = Merged { from: ix.max(other), into: ix.min(other) };
        let (first, second) = (self.records.remove(&merged.into)?, self.records.remove(&merged.from)?);
        // Answers may come in another order than the containers were made in.
        let (mut older, mut newer) =
            if first.number < second.number { (first, second) } else { (second, first) };
        newer.succeed(&mut older);
        newer.aliases = older.aliases.into_iter().chain([older.key]).chain(newer.aliases).collect();
        let forgotten = newer.aliases.len().saturating_sub(MAX_ALIASES);
        newer.aliases.drain(..forgotten).for_each(|key| {
            self.by_key.remove(&key);
        });
        for key in newer.aliases.iter().chain([&newer.key]) {
            self.by_key.insert(key.clone(), merged.into);
        }
        self.by_container_id.insert(newer.container_id.clone(), merged.into);
        self.records.insert(merged.into, newer);
        Some(merged)
    }
}

fn gone_for(record: &Record, now: BootNanos) -> u64 {
    now.since(record.last_seen)
}
