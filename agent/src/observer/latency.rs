//! Round-trip times as series.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::enrich::Workloads;
use crate::model::BootNanos;
use crate::registry::catalog::tcp as catalog;
use crate::registry::{Labels, SnapshotBuilder};
use crate::state::RoundTrips;

/// Label sets of remote addresses, made once while the address is there.
#[derive(Debug, Default)]
pub struct LatencyLabels(HashMap<IpAddr, Arc<Labels>>);

impl LatencyLabels {
    /// Adds the series. Label sets of addresses that are no longer there are let go.
    pub fn collect(
        &mut self,
        round_trips: &RoundTrips,
        workloads: &Workloads,
        builder: &mut SnapshotBuilder,
        now: BootNanos,
    ) {
        let mut before = std::mem::take(&mut self.0);
        for (workload, ip, seen) in round_trips.iter() {
            if !workloads.is_exported(workload, now) {
                continue;
            }
            let kept = before.remove(&ip);
            let new = || Labels::new([("destination_ip", ip.to_string())]);
            let own = self.0.entry(ip).or_insert_with(|| kept.unwrap_or_else(new));
            let owner = workloads.labels(workload);
            builder.number(&catalog::LATENCY_SECONDS, owner, own, f64::from(seen.srtt_us) / 1e6);
            if let Some(min_us) = seen.min_us {
                builder.number(&catalog::MIN_RTT_SECONDS, owner, own, f64::from(min_us) / 1e6);
            }
        }
    }
}
