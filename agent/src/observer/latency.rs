//! Round-trip times: what the kernel's own estimate says of the open connections, per workload and remote address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::enrich::Workloads;
use crate::model::{BootNanos, Role, SocketKind, TcpSocket, WorkloadIx};
use crate::registry::catalog::tcp as catalog;
use crate::registry::{Labels, SnapshotBuilder};

/// The smallest smoothed round-trip time among a workload's open outbound connections to an address: the others wait
/// for the application as much as for the network.
#[derive(Debug, Default)]
pub struct Latency {
    srtt_us: HashMap<(WorkloadIx, IpAddr), u32>,
    labels: HashMap<IpAddr, Arc<Labels>>,
}

impl Latency {
    /// Forgets the pass before.
    pub fn begin_pass(&mut self) {
        self.srtt_us.clear();
    }

    /// Takes a row of the pass.
    pub fn observe(&mut self, owner: Option<WorkloadIx>, socket: &TcpSocket) {
        let (Some(owner), Some(srtt)) = (owner, socket.srtt_us) else { return };
        if socket.kind == SocketKind::Open && socket.role == Role::Outbound {
            let slot = self.srtt_us.entry((owner, socket.remote.ip())).or_insert(srtt);
            *slot = srtt.min(*slot);
        }
    }

    /// Adds the series. Label sets of addresses that are no longer there are let go.
    pub fn collect(&mut self, workloads: &Workloads, builder: &mut SnapshotBuilder, now: BootNanos) {
        let mut before = std::mem::take(&mut self.labels);
        for ((workload, ip), srtt) in &self.srtt_us {
            if !workloads.is_exported(*workload, now) {
                continue;
            }
            let kept = before.remove(ip);
            let new = || Labels::new([("destination_ip", ip.to_string())]);
            let own = self.labels.entry(*ip).or_insert_with(|| kept.unwrap_or_else(new));
            let seconds = f64::from(*srtt) / 1e6;
            builder.number(&catalog::LATENCY_SECONDS, workloads.labels(*workload), own, seconds);
        }
    }
}
