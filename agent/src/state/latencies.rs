//! Histograms that the kernel half keeps, by whom they are shown of.
//!
//! The kernel half counts by key since the key's first time; a key may change its owner, and two keys may have the same
//! one. What came since the last look goes to the owner of now. Bounded by the kernel half's maps.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use sonde_abi::latency::Latency;

use crate::model::BootNanos;

/// What was last seen of a key.
#[derive(Debug, Default)]
struct Seen {
    total: Latency,
    changed: BootNanos,
}

/// Histograms of owners `O`, counted by keys `K`.
#[derive(Debug)]
pub struct Latencies<K, O> {
    seen: HashMap<K, Seen>,
    owners: HashMap<O, Latency>,
}

impl<K, O> Default for Latencies<K, O> {
    fn default() -> Self {
        Self { seen: HashMap::new(), owners: HashMap::new() }
    }
}

impl<K: Hash + Eq + Copy, O: Hash + Eq + Copy> Latencies<K, O> {
    /// Takes in what a key has counted so far; returns whether anything came for it within `keep`. When nothing did, it is
    /// forgotten here and is to be forgotten by the kernel half, which counts it anew from zero.
    pub fn observe(
        &mut self,
        key: K,
        total: &Latency,
        owner: Option<O>,
        now: BootNanos,
        keep: Duration,
    ) -> bool {
        let seen = self.seen.entry(key).or_insert_with(|| Seen { changed: now, ..Seen::default() });
        if seen.total != *total {
            if let Some(owner) = owner {
                add(self.owners.entry(owner).or_default(), &since(total, &seen.total));
            }
            *seen = Seen { total: *total, changed: now };
        }
        let is_current = u128::from(now.since(seen.changed)) < keep.as_nanos();
        if !is_current {
            self.seen.remove(&key);
        }
        is_current
    }

    /// All owners.
    pub fn iter(&self) -> impl Iterator<Item = (O, &Latency)> {
        self.owners.iter().map(|(owner, latency)| (*owner, latency))
    }

    /// Two owners turned out to be one.
    pub fn merge(&mut self, from: O, into: O) {
        if let Some(latency) = self.owners.remove(&from) {
            add(self.owners.entry(into).or_default(), &latency);
        }
    }

    /// Forgets the owners that are not kept. What comes for their keys later is counted from zero.
    pub fn retain(&mut self, keep: impl Fn(&O) -> bool) {
        self.owners.retain(|owner, _| keep(owner));
    }

    /// Forgets owners that are gone.
    pub fn forget(&mut self, retired: &[O]) {
        for owner in retired {
            self.owners.remove(owner);
        }
    }
}

fn add(sum: &mut Latency, other: &Latency) {
    sum.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
    sum.sum_ns += other.sum_ns;
}

fn since(now: &Latency, before: &Latency) -> Latency {
    let mut since = *now;
    since.counts.iter_mut().zip(before.counts).for_each(|(now, before)| *now = now.saturating_sub(before));
    since.sum_ns = now.sum_ns.saturating_sub(before.sum_ns);
    since
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> BootNanos {
        BootNanos(seconds * 1_000_000_000)
    }

    fn latency(first: u64, last: u64, sum_ns: u64) -> Latency {
        let mut latency = Latency { sum_ns, ..Latency::default() };
        (latency.counts[0], latency.counts[18]) = (first, last);
        latency
    }

    fn of(table: &Latencies<u8, u8>, owner: u8) -> Option<Latency> {
        table.iter().find(|(known, _)| *known == owner).map(|(_, latency)| *latency)
    }

    #[test]
    fn what_came_goes_to_the_owner_of_the_moment() {
        let mut table: Latencies<u8, u8> = Latencies::default();
        assert!(table.observe(1, &latency(2, 1, 30), Some(7), at(1), KEEP));
        assert!(table.observe(2, &latency(1, 0, 5), Some(7), at(1), KEEP));
        assert!(table.observe(1, &latency(3, 1, 31), Some(8), at(2), KEEP));
        assert!(table.observe(3, &latency(9, 9, 99), None, at(2), KEEP));
        assert_eq!(of(&table, 7), Some(latency(3, 1, 35)));
        assert_eq!(of(&table, 8), Some(latency(1, 0, 1)));
        table.merge(8, 7);
        assert_eq!((of(&table, 7), of(&table, 8)), (Some(latency(4, 1, 36)), None));
        table.forget(&[7]);
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn an_owner_that_was_forgotten_has_only_what_came_since() {
        let mut table: Latencies<u8, u8> = Latencies::default();
        table.observe(1, &latency(2, 1, 30), Some(7), at(1), KEEP);
        table.observe(2, &latency(1, 0, 5), Some(8), at(1), KEEP);
        table.retain(|owner| *owner != 7);
        assert_eq!((of(&table, 7), of(&table, 8)), (None, Some(latency(1, 0, 5))));
        table.observe(1, &latency(5, 1, 42), Some(7), at(2), KEEP);
        assert_eq!(of(&table, 7), Some(latency(3, 0, 12)));
    }

    #[test]
    fn a_key_without_news_is_forgotten_and_may_begin_anew() {
        let mut table: Latencies<u8, u8> = Latencies::default();
        assert!(table.observe(1, &latency(2, 0, 3), Some(7), at(1), KEEP));
        assert!(table.observe(1, &latency(2, 0, 3), Some(7), at(10), KEEP));
        assert!(!table.observe(1, &latency(2, 0, 3), Some(7), at(11), KEEP));
        assert!(table.observe(1, &latency(1, 0, 1), Some(7), at(12), KEEP));
        assert_eq!(of(&table, 7), Some(latency(3, 0, 4)));
    }
}
