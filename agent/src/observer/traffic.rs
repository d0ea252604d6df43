//! Flows and listeners as series.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::namespaces::Namespaces;
use super::series::{self, FlowLabels, OVERFLOW, SeriesLabels};
use crate::enrich::Workloads;
use crate::model::{BootNanos, Counters, WorkloadIx};
use crate::registry::catalog::tcp as catalog;
use crate::registry::{Labels, Metric, SnapshotBuilder};
use crate::state::table::Key as _;
use crate::state::{BacklogKey, Connections, Direction, Flow, Names};

/// What is shown, and to whom it belongs.
pub struct View<'a> {
    /// Flows and listeners.
    pub connections: &'a Connections,
    /// Names that stand for addresses.
    pub names: &'a Names,
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
            let labels = series.of(key, self.names);
            match key.direction {
                Direction::Outbound => outbound(flow, owner, labels, builder),
                Direction::Inbound => inbound(flow, owner, labels, builder),
            }
        }
    }

    /// Adds failed attempts, in all and by reason.
    pub fn failures(&self, series: &mut SeriesLabels, builder: &mut SnapshotBuilder) {
        for (key, counts) in self.connections.failures().iter() {
            if !self.workloads.is_exported(key.workload, self.now) {
                continue;
            }
            let owner = self.workloads.labels(key.workload);
            let total = counts.total() as f64;
            builder.number(
                &catalog::FAILED_CONNECTS_TOTAL,
                owner,
                series.destination(key, self.names),
                total,
            );
            for (reason, count) in counts.iter() {
                let own = series.failure(key, self.names, reason);
                builder.number(&catalog::CONNECT_FAILURES_TOTAL, owner, own, count as f64);
            }
        }
    }

    /// Adds accept queues: one set of series per address that sockets are bound to.
    pub fn backlogs(&self, builder: &mut SnapshotBuilder) {
        let mut queues: HashMap<BacklogKey, (u64, u64)> = HashMap::new();
        for listener in self.connections.listeners().iter() {
            let (Some(workload), Some(backlog)) = (listener.workload, listener.backlog) else { continue };
            let own = BacklogKey { workload, address: Some(listener.address) };
            // What the table of drops folded is folded here as well.
            let key = if self.connections.backlogs().contains(&own) { own } else { own.overflow() };
            let queue = queues.entry(key).or_default();
            queue.0 += u64::from(backlog.length);
            queue.1 += u64::from(backlog.max);
        }
        for (key, drops) in self.connections.backlogs().iter() {
            if !self.workloads.is_exported(key.workload, self.now) {
                continue;
            }
            let owner = self.workloads.labels(key.workload);
            let own = Labels::new([("listen_addr", series::text(key.address))]);
            builder.number(&catalog::LISTEN_DROPS_TOTAL, owner, &own, drops.0 as f64);
            if let Some((length, max)) = queues.get(key) {
                builder.number(&catalog::LISTEN_BACKLOG, owner, &own, *length as f64);
                builder.number(&catalog::LISTEN_BACKLOG_MAX, owner, &own, *max as f64);
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

fn outbound(flow: &Flow, owner: &Arc<Labels>, labels: &mut FlowLabels, builder: &mut SnapshotBuilder) {
    if flow.established == 0 && flow.active == 0 && flow.traffic.is_none() {
        return;
    }
    let seconds = flow.connect_ns as f64 / 1e9;
    builder.number(&catalog::SUCCESSFUL_CONNECTS_TOTAL, owner, &labels.full, flow.established as f64);
    builder.number(&catalog::CONNECTION_TIME_SECONDS_TOTAL, owner, &labels.full, seconds);
    builder.number(&catalog::ACTIVE_CONNECTIONS, owner, &labels.full, flow.active as f64);
    if let Some(times) = &flow.connect_times {
        builder.histogram(&catalog::CONNECT_DURATION_SECONDS, owner, &labels.full, times);
    }
    resets(&catalog::RESETS_TOTAL, flow, owner, labels, builder);
    if let Some(Counters { sent, received, retransmits }) = flow.traffic {
        builder.number(&catalog::BYTES_SENT_TOTAL, owner, &labels.full, sent as f64);
        builder.number(&catalog::BYTES_RECEIVED_TOTAL, owner, &labels.full, received as f64);
        builder.number(&catalog::RETRANSMITS_TOTAL, owner, &labels.full, retransmits as f64);
    }
}

/// Series appear with the first reset of their side.
fn resets(
    metric: &'static Metric,
    flow: &Flow,
    owner: &Arc<Labels>,
    labels: &mut FlowLabels,
    builder: &mut SnapshotBuilder,
) {
    for (side, count) in [flow.resets_received, flow.resets_sent].into_iter().enumerate() {
        if count > 0 {
            builder.number(metric, owner, &labels.resets()[side], count as f64);
        }
    }
}

fn inbound(flow: &Flow, owner: &Arc<Labels>, labels: &mut FlowLabels, builder: &mut SnapshotBuilder) {
    builder.number(&catalog::INBOUND_CONNECTIONS_TOTAL, owner, &labels.full, flow.established as f64);
    builder.number(&catalog::INBOUND_ACTIVE_CONNECTIONS, owner, &labels.full, flow.active as f64);
    resets(&catalog::INBOUND_RESETS_TOTAL, flow, owner, labels, builder);
    if let Some(Counters { sent, received, retransmits }) = flow.traffic {
        builder.number(&catalog::INBOUND_BYTES_SENT_TOTAL, owner, &labels.full, sent as f64);
        builder.number(&catalog::INBOUND_BYTES_RECEIVED_TOTAL, owner, &labels.full, received as f64);
        builder.number(&catalog::INBOUND_RETRANSMITS_TOTAL, owner, &labels.full, retransmits as f64);
    }
}
