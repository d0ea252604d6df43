//! Flows and listeners as series.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::namespaces::Namespaces;
use super::series::{FlowLabels, OVERFLOW, SeriesLabels};
use crate::enrich::Workloads;
use crate::model::{BootNanos, Counters, WorkloadIx};
use crate::registry::catalog::tcp as catalog;
use crate::registry::{Labels, SnapshotBuilder};
use crate::state::{Connections, Direction, Flow};

/// What is shown, and to whom it belongs.
pub struct View<'a> {
    /// Flows and listeners.
    pub connections: &'a Connections,
    /// Whose they are.
    pub workloads: &'a Workloads,
    /// Listening addresses shown per workload; more are folded into one.
    pub listeners_per_workload: usize,
    /// Now.
    pub now: BootNanos,
}

impl View<'_> {
    /// Adds what flows counted.
    pub fn flows(&self, series: &mut SeriesLabels, builder: &mut SnapshotBuilder) {
        for (key, flow) in self.connections.flows().iter() {
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
    }

    /// Adds listening addresses: one series per workload and address, though several sockets may share an address
    /// (`SO_REUSEPORT`).
    pub fn listeners(&self, namespaces: &mut Namespaces, builder: &mut SnapshotBuilder) {
        namespaces.refresh(self.connections.listeners().iter(), self.now);
        let mut shown: HashMap<WorkloadIx, HashSet<SocketAddr>> = HashMap::new();
        for listener in self.connections.listeners().iter() {
            let Some(workload) = listener.workload else { continue };
            if self.workloads.is_exported(workload, self.now) {
                shown.entry(workload).or_default().extend(namespaces.expand(listener));
            }
        }
        for (workload, addresses) in shown {
            let owner = self.workloads.labels(workload);
            let mut show = |address: &str| {
                builder.number(&catalog::LISTEN_INFO, owner, &Labels::new([("listen_addr", address)]), 1.0);
            };
            addresses.iter().take(self.listeners_per_workload).for_each(|address| show(&address.to_string()));
            if addresses.len() > self.listeners_per_workload {
                show(OVERFLOW);
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
