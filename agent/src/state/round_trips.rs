//! Round-trip times: the kernel's own estimates for the open connections, per workload and remote address. Each workload
//! has a share of the addresses and the node has one. An address keeps its place while passes see it, and one without a
//! place waits for the end of the pass, when those are free that were not seen: so what is shown does not change with the
//! order in which a pass finds connections, nor is a pass empty when all addresses change at once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt as _};

use super::table::{Caps, Folded, shrink};
use crate::model::{RoundTrip, WorkloadIx};

/// Whose, and to where.
type Key = (WorkloadIx, IpAddr);

/// The smallest round-trip times among a workload's open outbound connections to an address: the others wait for the
/// application as much as for the network.
#[derive(Debug)]
pub struct RoundTrips {
    /// `None` for an address of an earlier pass that this one did not see yet.
    rows: HashMap<Key, Option<RoundTrip>>,
    /// Addresses of each workload.
    shares: HashMap<WorkloadIx, usize>,
    /// Seen by this pass without a place; not more than there are places. In order, so that equal passes end equally.
    waiting: BTreeMap<Key, RoundTrip>,
    /// Of each workload, not more than its share.
    waiting_shares: HashMap<WorkloadIx, usize>,
    caps: Caps,
    folded: Folded,
}

impl RoundTrips {
    /// Nothing seen; of at most so many addresses.
    pub fn new(caps: Caps) -> Self {
        Self {
            rows: HashMap::new(),
            shares: HashMap::new(),
            waiting: BTreeMap::new(),
            waiting_shares: HashMap::new(),
            caps,
            folded: Folded::default(),
        }
    }

    /// Forgets the times, not yet the addresses; and what waited for the end of a pass that failed.
    pub fn begin_pass(&mut self) {
        self.rows.values_mut().for_each(|seen| *seen = None);
        self.waiting.clear();
        self.waiting_shares.clear();
    }

    /// Forgets the addresses that the pass did not see, and gives their places to those that wait.
    pub fn finish_pass(&mut self) {
        self.rows.retain(|_, seen| seen.is_some());
        self.shares.clear();
        for (workload, _) in self.rows.keys() {
            *self.shares.entry(*workload).or_default() += 1;
        }
        for (key, seen) in std::mem::take(&mut self.waiting) {
            if self.has_room(key.0) {
                self.insert(key, seen);
            }
        }
        self.waiting_shares = HashMap::new();
        shrink(&mut self.rows);
        shrink(&mut self.shares);
    }

    /// Takes one connection's estimates, unless its address is beyond the caps.
    pub fn observe(&mut self, workload: WorkloadIx, remote: IpAddr, seen: RoundTrip) {
        let key = (workload, remote);
        if let Some(row) = self.rows.get_mut(&key) {
            merge(row.get_or_insert(seen), seen);
        } else if let Some(waiting) = self.waiting.get_mut(&key) {
            merge(waiting, seen);
        } else if self.shares.get(&workload).is_none_or(|share| *share < self.caps.workload)
            && self.rows.len() < self.caps.node
        {
            self.insert(key, seen);
        } else {
            self.wait(key, seen);
        }
    }

    /// Lets an address wait for a place, if as many may become free.
    fn wait(&mut self, key: Key, seen: RoundTrip) {
        let share = self.waiting_shares.entry(key.0).or_default();
        if *share >= self.caps.workload {
            self.folded.workload += 1;
        } else if self.waiting.len() >= self.caps.node {
            self.folded.node += 1;
        } else {
            *share += 1;
            self.waiting.insert(key, seen);
        }
    }

    /// Whether there is a place; counts that there is none.
    fn has_room(&mut self, workload: WorkloadIx) -> bool {
        let share = self.shares.get(&workload).copied().unwrap_or(0);
        let (in_share, in_node) = (share < self.caps.workload, self.rows.len() < self.caps.node);
        self.folded.workload += u64::from(!in_share);
        self.folded.node += u64::from(in_share && !in_node);
        in_share && in_node
    }

    fn insert(&mut self, key: Key, seen: RoundTrip) {
        self.rows.insert(key, Some(seen));
        *self.shares.entry(key.0).or_default() += 1;
    }

    /// All that the pass saw.
    pub fn iter(&self) -> impl Iterator<Item = (WorkloadIx, IpAddr, RoundTrip)> {
        self.rows.iter().filter_map(|((workload, remote), seen)| Some((*workload, *remote, (*seen)?)))
    }

    /// How often an address was left out, at every pass anew.
    pub fn folded(&self) -> Folded {
        self.folded
    }

    /// Rows that memory is held for.
    pub fn capacity(&self) -> usize {
        self.rows.capacity() + self.shares.capacity() + self.waiting.len() + self.waiting_shares.capacity()
    }
}

/// The smaller of each.
fn merge(slot: &mut RoundTrip, seen: RoundTrip) {
    slot.srtt_us = slot.srtt_us.min(seen.srtt_us);
    slot.min_us = match (slot.min_us, seen.min_us) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(us: u32) -> RoundTrip {
        RoundTrip { srtt_us: us, min_us: Some(us) }
    }

    fn ip(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    fn shown(round_trips: &RoundTrips) -> Vec<(u32, IpAddr)> {
        let mut all: Vec<_> = round_trips.iter().map(|(workload, ip, _)| (workload.0, ip)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn when_all_addresses_change_at_the_cap_the_new_ones_are_shown_at_once() {
        let mut round_trips = RoundTrips::new(Caps { workload: 2, node: 3 });
        let mut pass = |seen: &[(u32, u8)]| {
            round_trips.begin_pass();
            for (workload, number) in seen {
                round_trips.observe(WorkloadIx(*workload), ip(*number), time(9));
                round_trips.observe(WorkloadIx(*workload), ip(*number), time(5));
            }
            round_trips.finish_pass();
            assert!(round_trips.iter().all(|(_, _, seen)| seen == time(5)));
            let shown: Vec<_> = shown(&round_trips);
            (shown, round_trips.folded())
        };
        let folded = |workload, node| Folded { workload, node };
        let full = vec![(1, ip(1)), (1, ip(2)), (2, ip(3))];
        assert_eq!(pass(&[(1, 1), (1, 2), (2, 3)]), (full, folded(0, 0)));
        let changed = vec![(1, ip(4)), (1, ip(5)), (2, ip(6))];
        assert_eq!(pass(&[(1, 4), (1, 5), (2, 6)]), (changed.clone(), folded(0, 0)));
        // Whoever has a place keeps it, also against addresses that are seen first and are smaller.
        assert_eq!(pass(&[(1, 1), (2, 2), (1, 4), (1, 5), (2, 6)]), (changed, folded(1, 1)));
        // One place is free, in either share.
        let after = vec![(1, ip(1)), (1, ip(5)), (2, ip(6))];
        assert_eq!(pass(&[(1, 1), (2, 2), (1, 5), (2, 6)]), (after, folded(1, 2)));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut round_trips = RoundTrips::new(Caps { workload: 2, node: 3 });
        for number in 0..200 {
            round_trips.observe(WorkloadIx(u32::from(number % 10)), ip(number), time(5));
        }
        assert_eq!((round_trips.rows.len(), round_trips.waiting.len()), (3, 3));
        round_trips.finish_pass();
        assert_eq!((round_trips.rows.len(), round_trips.waiting.len()), (3, 0));
        let folded = round_trips.folded();
        assert_eq!(folded.workload + folded.node, 197, "each is counted once");
    }

    #[test]
    fn an_address_keeps_its_place_while_it_is_seen() {
        let mut round_trips = RoundTrips::new(Caps { workload: 1, node: 2 });
        for (workload, number) in [(1, 1), (1, 2), (2, 3), (3, 4), (1, 1)] {
            round_trips.observe(WorkloadIx(workload), ip(number), time(5));
        }
        round_trips.finish_pass();
        assert_eq!(shown(&round_trips), [(1, ip(1)), (2, ip(3))]);
        assert_eq!(round_trips.folded(), Folded { workload: 1, node: 1 });
        round_trips.begin_pass();
        assert_eq!(shown(&round_trips), []);
        round_trips.observe(WorkloadIx(1), ip(2), time(5));
        round_trips.observe(WorkloadIx(1), ip(1), time(5));
        round_trips.finish_pass();
        assert_eq!(shown(&round_trips), [(1, ip(1))]);
        round_trips.begin_pass();
        round_trips.finish_pass();
        round_trips.observe(WorkloadIx(1), ip(2), time(5));
        assert_eq!(shown(&round_trips), [(1, ip(2))]);
    }
}
