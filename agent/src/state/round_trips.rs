//! Round-trip times: the kernel's own estimates for the open connections, per workload and remote address.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::WorkloadIx;

/// The smallest smoothed round-trip time among a workload's open outbound connections to an address: the others wait
/// for the application as much as for the network.
#[derive(Debug, Default)]
pub struct RoundTrips {
    srtt_us: HashMap<(WorkloadIx, IpAddr), u32>,
}

impl RoundTrips {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.srtt_us.clear();
    }

    /// Takes one connection's estimate, microseconds.
    pub fn observe(&mut self, workload: WorkloadIx, remote: IpAddr, srtt_us: u32) {
        let slot = self.srtt_us.entry((workload, remote)).or_insert(srtt_us);
        *slot = srtt_us.min(*slot);
    }

    /// All of them, microseconds.
    pub fn iter(&self) -> impl Iterator<Item = (WorkloadIx, IpAddr, u32)> {
        self.srtt_us.iter().map(|((workload, remote), srtt)| (*workload, *remote, *srtt))
    }
}
