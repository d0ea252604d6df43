//! A table with a share for each workload and one for the node: what comes beyond is counted in one row per workload,
//! so that nothing is lost but the distinction, and memory has a bound whatever passes through.

use std::collections::HashSet;
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt as _};

use crate::model::{BootNanos, WorkloadIx};

/// Identity of a row.
pub trait Key: Copy + Eq + Hash + Ord {
    /// Whose.
    fn workload(self) -> WorkloadIx;

    /// The same of another workload.
    fn of(self, workload: WorkloadIx) -> Self;

    /// The row of everything beyond the caps.
    fn overflow(self) -> Self;
}

/// Counters of a row.
pub trait Row: Default {
    /// Adds all that another row counted.
    fn merge(&mut self, other: &Self);

    /// Whether something is open in it.
    fn is_open(&self) -> bool {
        false
    }
}

/// How many rows there may be, overflows not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Of one workload.
    pub workload: usize,
    /// Of all together.
    pub node: usize,
}

/// How often a new row was refused by each cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Because the workload had its share.
    pub workload: u64,
    /// Because the node had its.
    pub node: u64,
}

#[derive(Debug, Default)]
struct Entry<R> {
    row: R,
    last: BootNanos,
}

/// Rows by key.
#[derive(Debug)]
pub struct Table<K, R> {
    rows: HashMap<K, Entry<R>>,
    /// Rows of each workload, overflows not counted.
    shares: HashMap<WorkloadIx, usize>,
    used: usize,
    caps: Caps,
    folded: Folded,
}

impl<K: Key, R: Row> Table<K, R> {
    /// An empty table.
    pub fn new(caps: Caps) -> Self {
        Self { rows: HashMap::new(), shares: HashMap::new(), used: 0, caps, folded: Folded::default() }
    }

    /// The key under which something is counted: its own, or the overflow's once a cap is reached.
    pub fn admit(&mut self, key: K) -> K {
        let overflow = key.overflow();
        if self.rows.contains_key(&key) {
            return key;
        }
        if key != overflow {
            if self.share(key.workload()) >= self.caps.workload {
                self.folded.workload += 1;
                return self.admit(overflow);
            }
            if self.used >= self.caps.node {
                self.folded.node += 1;
                return self.admit(overflow);
            }
        }
        self.insert(key);
        key
    }

    /// A row that was admitted; makes it anew if it was dropped meanwhile.
    pub fn at(&mut self, key: K, now: BootNanos) -> &mut R {
        if !self.rows.contains_key(&key) {
            self.insert(key);
        }
        let entry = self.rows.entry(key).or_default();
        entry.last = entry.last.max(now);
        &mut entry.row
    }

    fn share(&self, workload: WorkloadIx) -> usize {
        self.shares.get(&workload).copied().unwrap_or(0)
    }

    fn insert(&mut self, key: K) {
        self.rows.insert(key, Entry::default());
        if key != key.overflow() {
            *self.shares.entry(key.workload()).or_default() += 1;
            self.used += 1;
        }
    }

    /// All rows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &R)> {
        self.rows.iter().map(|(key, entry)| (key, &entry.row))
    }

    /// Whether there is such a row.
    pub fn contains(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows that memory is held for.
    pub fn capacity(&self) -> usize {
        self.rows.capacity() + self.shares.capacity()
    }

    /// How often a new row was folded into an overflow.
    pub fn folded(&self) -> Folded {
        self.folded
    }

    /// Drops rows in which nothing is open and nothing happened since `before`.
    pub fn drop_idle(&mut self, before: BootNanos) {
        self.retain(|_, entry| entry.row.is_open() || entry.last >= before);
    }

    /// Drops rows of which nothing was heard since `before` where new ones would have no room beside them.
    pub fn make_room(&mut self, new: &[K], before: BootNanos) {
        let new: HashSet<K> = new.iter().filter(|key| !self.rows.contains_key(key)).copied().collect();
        let mut shares: HashMap<WorkloadIx, usize> = HashMap::new();
        for key in &new {
            *shares.entry(key.workload()).or_insert_with(|| self.share(key.workload())) += 1;
        }
        let is_full = self.used + new.len() > self.caps.node;
        shares.retain(|_, share| is_full || *share > self.caps.workload);
        if !shares.is_empty() {
            let is_crowded = |workload| is_full || shares.contains_key(&workload);
            self.retain(|key, entry| entry.last >= before || !is_crowded(key.workload()));
        }
    }

    /// Drops all rows of some workloads.
    pub fn drop_workloads(&mut self, workloads: &HashSet<WorkloadIx>) {
        self.retain(|key, _| !workloads.contains(&key.workload()));
    }

    /// Moves the rows of a workload to another one, where equal ones add up; returns the new keys by the old ones.
    pub fn merge_workload(&mut self, from: WorkloadIx, into: WorkloadIx) -> HashMap<K, K> {
        let mut moved: Vec<K> = self.rows.keys().filter(|key| key.workload() == from).copied().collect();
        moved.sort_unstable();
        let mut new_keys = HashMap::with_capacity(moved.len());
        for old in moved {
            let Some(entry) = self.rows.remove(&old) else { continue };
            self.give_back(old);
            let new = self.admit(old.of(into));
            self.at(new, entry.last).merge(&entry.row);
            new_keys.insert(old, new);
        }
        new_keys
    }

    fn give_back(&mut self, key: K) {
        if key == key.overflow() {
            return;
        }
        self.used -= 1;
        if let Some(share) = self.shares.get_mut(&key.workload()) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&key.workload());
            }
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&K, &Entry<R>) -> bool) {
        let gone: Vec<K> =
            self.rows.iter().filter(|(key, entry)| !keep(key, entry)).map(|(key, _)| *key).collect();
        for key in gone {
            self.rows.remove(&key);
            self.give_back(key);
        }
        shrink(&mut self.rows);
        shrink(&mut self.shares);
    }
}

/// Gives memory back once three quarters of a map are empty; a map never does so by itself.
pub fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    const SMALL: usize = 16;
    if map.capacity() > 4 * map.len().max(SMALL) {
        map.shrink_to(2 * map.len());
    }
}
