//! Round-trip times: the kernel's own estimates for the open connections, per workload and remote address. Each workload
//! has a share of the addresses and the node has one; an address keeps its place from pass to pass while it is seen, so
//! that what is shown does not change with the order in which a pass finds connections.

use std::collections::HashMap;
use std::net::IpAddr;

use super::table::{Caps, Folded, shrink};
use crate::model::{RoundTrip, WorkloadIx};

/// The smallest round-trip times among a workload's open outbound connections to an address: the others wait for the
/// application as much as for the network.
#[derive(Debug)]
pub struct RoundTrips {
    /// `None` for an address of an earlier pass that this one did not see yet.
    rows: HashMap<(WorkloadIx, IpAddr), Option<RoundTrip>>,
    /// Addresses of each workload.
    shares: HashMap<WorkloadIx, usize>,
    caps: Caps,
    folded: Folded,
}

impl RoundTrips {
    /// Nothing seen; of at most so many addresses.
    pub fn new(caps: Caps) -> Self {
        Self { rows: HashMap::new(), shares: HashMap::new(), caps, folded: Folded::default() }
    }

    /// Forgets the times, not yet the addresses.
    pub fn begin_pass(&mut self) {
        self.rows.values_mut().for_each(|seen| *seen = None);
    }

    /// Forgets the addresses that the pass did not see.
    pub fn finish_pass(&mut self) {
        self.rows.retain(|_, seen| seen.is_some());
        self.shares.clear();
        for (workload, _) in self.rows.keys() {
            *self.shares.entry(*workload).or_default() += 1;
        }
        shrink(&mut self.rows);
        shrink(&mut self.shares);
    }

    /// Takes one connection's estimates, unless its address is beyond the caps.
    pub fn observe(&mut self, workload: WorkloadIx, remote: IpAddr, seen: RoundTrip) {
        if let Some(row) = self.rows.get_mut(&(workload, remote)) {
            let slot = row.get_or_insert(seen);
            slot.srtt_us = slot.srtt_us.min(seen.srtt_us);
            slot.min_us = match (slot.min_us, seen.min_us) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            return;
        }
        if self.shares.get(&workload).is_some_and(|share| *share >= self.caps.workload) {
            self.folded.workload += 1;
        } else if self.rows.len() >= self.caps.node {
            self.folded.node += 1;
        } else {
            self.rows.insert((workload, remote), Some(seen));
            *self.shares.entry(workload).or_default() += 1;
        }
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
        self.rows.capacity() + self.shares.capacity()
    }
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

    #[test]
    fn an_address_keeps_its_place_while_it_is_seen() {
        let mut round_trips = RoundTrips::new(Caps { workload: 1, node: 2 });
        let shown = |round_trips: &RoundTrips| {
            let mut all: Vec<_> = round_trips.iter().map(|(workload, ip, _)| (workload.0, ip)).collect();
            all.sort_unstable();
            all
        };
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
