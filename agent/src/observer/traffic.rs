//! Flows and failures as series.

use std::sync::Arc;

use super::series::{FlowLabels, SeriesLabels};
use crate::enrich::Workloads;
use crate::model::{BootNanos, Counters};
use crate::registry::catalog::tcp as catalog;
use crate::registry::{Labels, Metric, SnapshotBuilder};
use crate::state::{Connections, Direction, Flow, Names};

/// What is shown, and to whom it belongs.
pub struct View<'a> {
    /// Flows and listeners.
    pub connections: &'a Connections,
    /// Names that stand for addresses.
    pub names: &'a Names,
    /// Whose they are.
    pub workloads: &'a Workloads,
    /// Whether connects are told as they happen: without, none seen is not zero.
    pub counts_connects: bool,
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
                Direction::Outbound => outbound(flow, self.counts_connects, owner, labels, builder),
                Direction::Inbound => inbound(flow, self.counts_connects, owner, labels, builder),
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
}

fn outbound(
    flow: &Flow,
    counts_connects: bool,
    owner: &Arc<Labels>,
    labels: &mut FlowLabels,
    builder: &mut SnapshotBuilder,
) {
    if flow.established == 0 && flow.active == 0 && flow.traffic.is_none() {
        return;
    }
    if counts_connects {
        let seconds = flow.connect_ns as f64 / 1e9;
        builder.number(&catalog::SUCCESSFUL_CONNECTS_TOTAL, owner, &labels.full, flow.established as f64);
        builder.number(&catalog::CONNECTION_TIME_SECONDS_TOTAL, owner, &labels.full, seconds);
    }
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

fn inbound(
    flow: &Flow,
    counts_connects: bool,
    owner: &Arc<Labels>,
    labels: &mut FlowLabels,
    builder: &mut SnapshotBuilder,
) {
    if counts_connects {
        builder.number(&catalog::INBOUND_CONNECTIONS_TOTAL, owner, &labels.full, flow.established as f64);
    }
    builder.number(&catalog::INBOUND_ACTIVE_CONNECTIONS, owner, &labels.full, flow.active as f64);
    resets(&catalog::INBOUND_RESETS_TOTAL, flow, owner, labels, builder);
    if let Some(Counters { sent, received, retransmits }) = flow.traffic {
        builder.number(&catalog::INBOUND_BYTES_SENT_TOTAL, owner, &labels.full, sent as f64);
        builder.number(&catalog::INBOUND_BYTES_RECEIVED_TOTAL, owner, &labels.full, received as f64);
        builder.number(&catalog::INBOUND_RETRANSMITS_TOTAL, owner, &labels.full, retransmits as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{End, UnixMillis, WorkloadIx};
    use crate::registry::Value;
    use crate::shares::{INBOUND, OUTBOUND};
    use crate::state::{FlowKey, NAMES_MAX, Peer};

    /// Series of a flow that counted everything.
    fn series_of(direction: Direction) -> usize {
        let mut flow = Flow::default();
        flow.establish(7);
        flow.end(End::ResetReceived);
        flow.end(End::ResetSent);
        flow.add(&Counters::default(), &Some(Counters { sent: 1, received: 1, retransmits: 1 }));
        let peer = Peer::direct("10.0.0.1:80".parse().unwrap());
        let (mut series, mut builder) = (SeriesLabels::default(), SnapshotBuilder::default());
        let labels = series.of(&FlowKey { workload: WorkloadIx(1), direction, peer }, &Names::new(NAMES_MAX));
        let owner = Labels::new([("container_id", "/docker/1")]);
        match direction {
            Direction::Outbound => outbound(&flow, true, &owner, labels, &mut builder),
            Direction::Inbound => inbound(&flow, true, &owner, labels, &mut builder),
        }
        let snapshot = builder.build(UnixMillis(0), Labels::empty());
        let samples = snapshot.families.iter().flat_map(|family| &family.samples);
        let size = |value: &Value| match value {
            Value::Number(_) => 1,
            // With the bucket of +Inf, the sum and the count.
            Value::Histogram(histogram) => histogram.cumulative().count() + 3,
        };
        samples.filter(|sample| sample.owner == owner).map(|sample| size(&sample.value)).sum()
    }

    #[test]
    fn a_flow_makes_as_many_series_as_its_share_was_made_for() {
        assert_eq!([Direction::Outbound, Direction::Inbound].map(series_of), [OUTBOUND, INBOUND]);
    }
}
