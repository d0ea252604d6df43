//! Round-trip times: the kernel's own estimates for the open connections, per workload and remote address.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::{RoundTrip, WorkloadIx};

/// The smallest round-trip times among a workload's open outbound connections to an address: the others wait for the
/// application as much as for the network.
#[derive(Debug, Default)]
pub struct RoundTrips(HashMap<(WorkloadIx, IpAddr), RoundTrip>);

impl RoundTrips {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
        super::table::shrink(&mut self.0);
    }

    /// Takes one connection's estimates.
    pub fn observe(&mut self, workload: WorkloadIx, remote: IpAddr, seen: RoundTrip) {
        let slot = self.0.entry((workload, remote)).or_insert(seen);
        slot.srtt_us = slot.srtt_us.min(seen.srtt_us);
        slot.min_us = match (slot.min_us, seen.min_us) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (WorkloadIx, IpAddr, RoundTrip)> {
        self.0.iter().map(|((workload, remote), seen)| (*workload, *remote, *seen))
    }
}
