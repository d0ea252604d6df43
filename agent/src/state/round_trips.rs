//! Round-trip times: the kernel's own estimates for connections, per workload and remote address. Each workload has a share
//! of the addresses and the node has one.
//!
//! An address keeps its place while passes see open connections to it, and one without a place waits for the end of the
//! pass, when those are free that were not seen: so what is shown does not change with the order in which a pass finds
//! connections, nor is a pass empty when all addresses change at once. Connections too short for any pass leave their
//! estimate when they end. It is remembered as long as an idle destination is, counts only while nothing is open to the
//! address, and gives its place to whatever is.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use super::table::{Caps, Folded, shrink};
use crate::model::{BootNanos, RoundTrip, WorkloadIx};

/// Connections that end within so long of the first are one observation, of which the smallest times count; what ends later
/// is a new one. The usual time between two scrapes.
const OBSERVATION: Duration = Duration::from_secs(15);

/// Whose, and to where.
type Key = (WorkloadIx, IpAddr);

/// The smallest round-trip times among a workload's outbound connections to an address: the others wait for the application
/// as much as for the network.
#[derive(Debug)]
pub struct RoundTrips {
    rows: HashMap<Key, Row>,
    /// Addresses of each workload.
    shares: HashMap<WorkloadIx, usize>,
    /// Seen open by this pass without a place; not more than there are places. In order, so that equal passes end equally.
    waiting: BTreeMap<Key, RoundTrip>,
    /// Of each workload, not more than its share.
    waiting_shares: HashMap<WorkloadIx, usize>,
    caps: Caps,
    folded: Folded,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// Of open connections; `None` until this pass sees one.
    open: Option<RoundTrip>,
    /// Of connections that ended.
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    seen: RoundTrip,
    /// When the first of this observation ended.
    since: BootNanos,
    /// When the last one did.
    last: BootNanos,
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

    /// Forgets the times of open connections, not yet the addresses; and what waited for the end of a pass that failed.
    pub fn begin_pass(&mut self) {
        self.rows.values_mut().for_each(|row| row.open = None);
        self.waiting.clear();
        self.waiting_shares.clear();
    }

    /// Forgets the addresses of which nothing is known any more, and gives their places to those that wait. If they do
    /// not suffice, those go with which no connection is open.
    pub fn finish_pass(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_shares = HashMap::new();
        let mut ended = BTreeMap::new();
        if !waiting.is_empty() {
            ended.extend(self.rows.extract_if(|_, row| row.open.is_none()));
        }
        self.forget_empty();
        let waiting = waiting.into_iter().map(|(key, seen)| (key, Row { open: Some(seen), ended: None }));
        for (key, row) in waiting.chain(ended).filter(|(_, row)| row.shown().is_some()) {
            if self.has_room(key.0) {
                *self.insert(key) = row;
            }
        }
    }

    /// Takes an open connection's estimates, unless its address is beyond the caps.
    pub fn observe(&mut self, workload: WorkloadIx, remote: IpAddr, seen: RoundTrip) {
        let key = (workload, remote);
        if let Some(row) = self.rows.get_mut(&key) {
            merge(row.open.get_or_insert(seen), seen);
        } else if let Some(waiting) = self.waiting.get_mut(&key) {
            merge(waiting, seen);
        } else if self.is_free(workload) {
            self.insert(key).open = Some(seen);
        } else {
            self.wait(key, seen);
        }
    }

    /// Takes the estimates of a connection that ended at `at`, unless its address has no place and there is none.
    pub fn observe_ended(&mut self, workload: WorkloadIx, remote: IpAddr, seen: RoundTrip, at: BootNanos) {
        let key = (workload, remote);
        if self.rows.contains_key(&key) || self.has_room(workload) {
            self.insert(key).end(Ended { seen, since: at, last: at });
        }
    }

    /// Forgets what ended before `before`.
    pub fn drop_idle(&mut self, before: BootNanos) {
        for row in self.rows.values_mut() {
            row.ended = row.ended.filter(|ended| ended.last >= before);
        }
        self.forget_empty();
    }

    /// Forgets some workloads.
    pub fn drop_workloads(&mut self, workloads: &HashSet<WorkloadIx>) {
        self.rows.retain(|(workload, _), _| !workloads.contains(workload));
        self.forget_empty();
    }

    /// Moves the addresses of a workload to another one.
    pub fn merge_workload(&mut self, from: WorkloadIx, into: WorkloadIx) {
        let moved: BTreeMap<Key, Row> = self.rows.extract_if(|(workload, _), _| *workload == from).collect();
        self.shares.remove(&from);
        for ((_, remote), row) in moved {
            if let Some(open) = row.open {
                self.observe(into, remote, open);
            }
            if let Some(ended) = row.ended
                && (self.rows.contains_key(&(into, remote)) || self.has_room(into))
            {
                self.insert((into, remote)).end(ended);
            }
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

    fn is_free(&self, workload: WorkloadIx) -> bool {
        self.shares.get(&workload).is_none_or(|share| *share < self.caps.workload)
            && self.rows.len() < self.caps.node
    }

    /// Whether there is a place; counts that there is none.
    fn has_room(&mut self, workload: WorkloadIx) -> bool {
        let share = self.shares.get(&workload).copied().unwrap_or(0);
        let (in_share, in_node) = (share < self.caps.workload, self.rows.len() < self.caps.node);
        self.folded.workload += u64::from(!in_share);
        self.folded.node += u64::from(in_share && !in_node);
        in_share && in_node
    }

    /// The row of an address, new if there is none.
    fn insert(&mut self, key: Key) -> &mut Row {
        let shares = &mut self.shares;
        self.rows.entry(key).or_insert_with(|| {
            *shares.entry(key.0).or_default() += 1;
            Row::default()
        })
    }

    /// Gives free the places of addresses of which nothing is known, and memory that is no longer needed.
    fn forget_empty(&mut self) {
        self.rows.retain(|_, row| row.shown().is_some());
        self.shares.clear();
        for (workload, _) in self.rows.keys() {
            *self.shares.entry(*workload).or_default() += 1;
        }
        shrink(&mut self.rows);
        shrink(&mut self.shares);
    }

    /// All that is known.
    pub fn iter(&self) -> impl Iterator<Item = (WorkloadIx, IpAddr, RoundTrip)> {
        self.rows.iter().filter_map(|((workload, remote), row)| Some((*workload, *remote, row.shown()?)))
    }

    /// How often an address was left out: at every pass that saw it open, and at every end.
    pub fn folded(&self) -> Folded {
        self.folded
    }

    /// Rows that memory is held for.
    pub fn capacity(&self) -> usize {
        self.rows.capacity() + self.shares.capacity() + self.waiting.len() + self.waiting_shares.capacity()
    }
}

impl Row {
    /// What is open tells more than what ended.
    fn shown(&self) -> Option<RoundTrip> {
        self.open.or(self.ended.map(|ended| ended.seen))
    }

    /// Adds what ended.
    fn end(&mut self, new: Ended) {
        let span = OBSERVATION.as_nanos() as u64;
        match &mut self.ended {
            Some(ended) if new.last.0.abs_diff(ended.since.0) < span => {
                merge(&mut ended.seen, new.seen);
                ended.last = ended.last.max(new.last);
            }
            // Events of several processors may come out of order by a little, never by so long.
            ended => *ended = Some(new),
        }
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
    use proptest::prelude::*;

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

    /// Of seconds since the start.
    fn at(seconds: u64) -> BootNanos {
        BootNanos(seconds * 1_000_000_000)
    }

    fn times(round_trips: &RoundTrips) -> Vec<(u32, IpAddr, u32)> {
        let mut all: Vec<_> =
            round_trips.iter().map(|(workload, ip, seen)| (workload.0, ip, seen.srtt_us)).collect();
        all.sort_unstable();
        all
    }

    fn pass(round_trips: &mut RoundTrips, open: &[(u32, u8, u32)]) {
        round_trips.begin_pass();
        for (workload, number, us) in open {
            round_trips.observe(WorkloadIx(*workload), ip(*number), time(*us));
        }
        round_trips.finish_pass();
    }

    #[test]
    fn what_ended_is_shown_until_it_is_idle_and_while_nothing_is_open() {
        let mut round_trips = RoundTrips::new(Caps { workload: 10, node: 10 });
        round_trips.observe_ended(WorkloadIx(1), ip(1), time(7), at(100));
        for _ in 0..3 {
            pass(&mut round_trips, &[]);
            assert_eq!(times(&round_trips), [(1, ip(1), 7)]);
        }
        pass(&mut round_trips, &[(1, 1, 9)]);
        assert_eq!(times(&round_trips), [(1, ip(1), 9)], "what is open counts, though it is slower");
        pass(&mut round_trips, &[]);
        round_trips.drop_idle(at(100));
        assert_eq!(times(&round_trips), [(1, ip(1), 7)]);
        round_trips.drop_idle(at(101));
        assert_eq!((times(&round_trips), round_trips.shares.len()), (vec![], 0));
    }

    #[test]
    fn connections_that_end_together_are_one_observation() {
        let mut round_trips = RoundTrips::new(Caps { workload: 10, node: 10 });
        let mut end = |us, seconds| {
            round_trips.observe_ended(WorkloadIx(1), ip(1), time(us), at(seconds));
            times(&round_trips)[0].2
        };
        assert_eq!([end(7, 100), end(9, 110), end(5, 114)], [7, 7, 5]);
        assert_eq!([end(8, 115), end(9, 129), end(9, 130)], [8, 8, 9], "it begins anew every 15 s");
    }

    #[test]
    fn what_is_open_takes_the_place_of_what_ended() {
        let mut round_trips = RoundTrips::new(Caps { workload: 2, node: 3 });
        for (workload, number) in [(1, 1), (1, 2), (1, 3), (2, 4), (3, 5)] {
            round_trips.observe_ended(WorkloadIx(workload), ip(number), time(7), at(1));
        }
        assert_eq!(shown(&round_trips), [(1, ip(1)), (1, ip(2)), (2, ip(4))]);
        assert_eq!(round_trips.folded(), Folded { workload: 1, node: 1 });
        pass(&mut round_trips, &[(1, 8, 5), (1, 9, 5)]);
        assert_eq!(times(&round_trips), [(1, ip(8), 5), (1, ip(9), 5), (2, ip(4), 7)]);
        pass(&mut round_trips, &[(1, 8, 5), (1, 9, 5), (3, 6, 5)]);
        assert_eq!(shown(&round_trips), [(1, ip(8)), (1, ip(9)), (3, ip(6))]);
    }

    #[test]
    fn a_workload_that_is_another_one_takes_its_addresses_along() {
        let mut round_trips = RoundTrips::new(Caps { workload: 2, node: 4 });
        for (workload, number, us) in [(1, 1, 7), (1, 2, 7), (2, 2, 5), (2, 3, 7)] {
            round_trips.observe_ended(WorkloadIx(workload), ip(number), time(us), at(1));
        }
        round_trips.merge_workload(WorkloadIx(1), WorkloadIx(2));
        assert_eq!(times(&round_trips), [(2, ip(2), 5), (2, ip(3), 7)]);
        assert_eq!(round_trips.folded(), Folded { workload: 1, node: 0 });
        round_trips.drop_workloads(&HashSet::from([WorkloadIx(2)]));
        assert_eq!((times(&round_trips), round_trips.shares.len()), (vec![], 0));
    }

    /// What happens between two passes, and what the second one sees: whose, where, how long.
    type Turn = (Vec<(u32, u8, u32)>, Vec<(u32, u8, u32)>);

    proptest! {
        #[test]
        fn whatever_happens_it_is_bounded_and_the_open_come_first(
            turns in prop::collection::vec::<BoxedStrategy<Turn>>(
                (
                    prop::collection::vec((0..3u32, 0..8u8, 1..99u32), 0..20),
                    prop::collection::vec((0..3u32, 0..8u8, 1..99u32), 0..20),
                ).boxed(),
                1..12,
            )
        ) {
            const IDLE: u64 = 60;
            let caps = Caps { workload: 4, node: 9 };
            let mut round_trips = RoundTrips::new(caps);
            let mut ended: BTreeMap<(u32, IpAddr), u64> = BTreeMap::new();
            for (index, (ends, open)) in turns.into_iter().enumerate() {
                let now = 100 + 20 * index as u64;
                for (workload, number, us) in ends {
                    round_trips.observe_ended(WorkloadIx(workload), ip(number), time(us), at(now));
                    ended.insert((workload, ip(number)), now);
                }
                round_trips.drop_idle(at(now - IDLE));
                pass(&mut round_trips, &open);
                let mut smallest = BTreeMap::new();
                for (workload, number, us) in &open {
                    let slot = smallest.entry((*workload, ip(*number))).or_insert(*us);
                    *slot = (*slot).min(*us);
                }
                let shown = times(&round_trips);
                let of = |workload| shown.iter().filter(move |row| row.0 == workload);
                prop_assert!(shown.len() <= caps.node && (0..3).all(|one| of(one).count() <= caps.workload));
                for (workload, ip, us) in &shown {
                    match smallest.get(&(*workload, *ip)) {
                        Some(smallest) => prop_assert_eq!(us, smallest),
                        None => prop_assert!(ended[&(*workload, *ip)] + IDLE >= now),
                    }
                }
                // Whoever is open and left out had no place that something ended could have given.
                for (workload, ip) in smallest.keys().filter(|key| !shown.iter().any(|row| (row.0, row.1) == **key)) {
                    let is_open = |row: &&(u32, IpAddr, u32)| smallest.contains_key(&(row.0, row.1));
                    let in_share = of(*workload).filter(is_open).count() < caps.workload;
                    let in_node = shown.iter().filter(is_open).count() < caps.node;
                    prop_assert!(!(in_share && in_node), "{workload} {ip} is left out of {shown:?}");
                }
            }
        }
    }
}
