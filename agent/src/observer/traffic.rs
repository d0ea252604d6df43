//! Flows and listeners as series.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::series::{FlowLabels, SeriesLabels};
use crate::enrich::{Workloads, netns};
use crate::model::{BootNanos, Counters, NetnsId, WorkloadIx};
use crate::registry::catalog::tcp as catalog;
use crate::registry::{Labels, SnapshotBuilder};
use crate::state::{Connections, Direction, Flow, Listener};

/// What names and hides flows.
pub struct View<'a> {
    /// Whose they are.
    pub workloads: &'a Workloads,
    /// The host's procfs.
    pub proc_root: &'a Path,
    /// Now.
    pub now: BootNanos,
}

impl View<'_> {
    /// Adds everything about TCP.
    pub fn collect(
        &self,
        connections: &Connections,
        series: &mut SeriesLabels,
        builder: &mut SnapshotBuilder,
    ) {
        for (key, flow) in connections.flows().iter() {
            if !self.workloads.is_exported(key.workload, self.now) {
                continue;
            }
            let owner = self.workloads.labels(key.workload);
            let labels = series.of(key);
            match key.direction {
                Direction::Outbound => outbound(flow, owner, labels, builder),
                Direction::Inbound => inbound(flow, owner, labels, builder),
            }
        }
        self.listeners(connections, builder);
    }

    /// One series per workload and address; several sockets may share an address (`SO_REUSEPORT`).
    fn listeners(&self, connections: &Connections, builder: &mut SnapshotBuilder) {
        let mut shown: HashSet<(WorkloadIx, SocketAddr)> = HashSet::new();
        let mut namespaces = Namespaces::new(self.proc_root);
        for listener in connections.listeners().iter() {
            let Some(workload) = listener.workload else { continue };
            if !self.workloads.is_exported(workload, self.now) {
                continue;
            }
            for address in namespaces.expand(listener) {
                if shown.insert((workload, address)) {
                    let own = Labels::new([("listen_addr", address.to_string())]);
                    builder.number(&catalog::LISTEN_INFO, self.workloads.labels(workload), &own, 1.0);
                }
            }
        }
    }
}

fn outbound(flow: &Flow, owner: &Arc<Labels>, labels: &FlowLabels, builder: &mut SnapshotBuilder) {
    if flow.failed > 0 {
        builder.number(&catalog::FAILED_CONNECTS_TOTAL, owner, &labels.destination, flow.failed as f64);
    }
    if flow.established == 0 && flow.active == 0 && flow.traffic.is_none() {
        return;
    }
    let seconds = flow.connect_ns as f64 / 1e9;
    builder.number(&catalog::SUCCESSFUL_CONNECTS_TOTAL, owner, &labels.full, flow.established as f64);
    builder.number(&catalog::CONNECTION_TIME_SECONDS_TOTAL, owner, &labels.full, seconds);
    builder.number(&catalog::ACTIVE_CONNECTIONS, owner, &labels.full, flow.active as f64);
    if let Some(Counters { sent, received, retransmits }) = flow.traffic {
        builder.number(&catalog::BYTES_SENT_TOTAL, owner, &labels.full, sent as f64);
        builder.number(&catalog::BYTES_RECEIVED_TOTAL, owner, &labels.full, received as f64);
        builder.number(&catalog::RETRANSMITS_TOTAL, owner, &labels.full, retransmits as f64);
    }
}

fn inbound(flow: &Flow, owner: &Arc<Labels>, labels: &FlowLabels, builder: &mut SnapshotBuilder) {
    builder.number(&catalog::INBOUND_CONNECTIONS_TOTAL, owner, &labels.full, flow.established as f64);
    builder.number(&catalog::INBOUND_ACTIVE_CONNECTIONS, owner, &labels.full, flow.active as f64);
    if let Some(Counters { sent, received, retransmits }) = flow.traffic {
        builder.number(&catalog::INBOUND_BYTES_SENT_TOTAL, owner, &labels.full, sent as f64);
        builder.number(&catalog::INBOUND_BYTES_RECEIVED_TOTAL, owner, &labels.full, received as f64);
        builder.number(&catalog::INBOUND_RETRANSMITS_TOTAL, owner, &labels.full, retransmits as f64);
    }
}

/// Addresses of network namespaces, read at most once per snapshot.
struct Namespaces<'a> {
    proc_root: &'a Path,
    addresses: HashMap<NetnsId, Vec<IpAddr>>,
}

impl<'a> Namespaces<'a> {
    fn new(proc_root: &'a Path) -> Self {
        Self { proc_root, addresses: HashMap::new() }
    }

    /// A wildcard stands for every address of its namespace; an IPv6 one for the IPv4 ones too.
    fn expand(&mut self, listener: &Listener) -> Vec<SocketAddr> {
        let (ip, port) = (listener.address.ip(), listener.address.port());
        let Some(pid) = listener.pid.filter(|_| ip.is_unspecified()) else { return vec![listener.address] };
        let read = || netns::local_addresses(self.proc_root, pid).unwrap_or_default();
        let addresses = self.addresses.entry(listener.netns).or_insert_with(read);
        let expanded: Vec<SocketAddr> = addresses
            .iter()
            .filter(|address| ip.is_ipv6() || address.is_ipv4())
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        if expanded.is_empty() { vec![listener.address] } else { expanded }
    }
}
