//! What this machine cannot tell: metrics without a source, each with the reason, for `/status` and `doctor`.
//!
//! Made anew for every look, so that a reason never outlives its cause. Bounded by the catalogue, which the keys are of.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kernel::{FeatureId, FeatureStatus};
use crate::registry::catalog::container;
use crate::registry::{Metric, Snapshot};

/// Metrics without a source, one reason each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absent(BTreeMap<&'static str, String>);

impl Absent {
    /// Says why a metric is absent. The first reason of a metric stays: whoever is asked first knows best.
    pub fn push(&mut self, metric: &'static Metric, reason: impl Into<String>) {
        self.0.entry(metric.name).or_insert_with(|| reason.into());
    }

    /// Says the same of several metrics.
    pub fn push_all(&mut self, metrics: &[&'static Metric], reason: &str) {
        metrics.iter().for_each(|metric| self.push(metric, reason));
    }

    /// Says what only a feature of the kernel half could tell that does not work.
    pub fn push_features(&mut self, features: &[FeatureStatus]) {
        for feature in features.iter().filter(|feature| !feature.verdict.is_ok()) {
            let reason = format!("{} does not work: {}", feature.name, feature.verdict.detail());
            self.push_all(only_by(feature.id), &reason);
        }
    }

    /// Adds what others have said.
    pub fn extend(&mut self, other: &Self) {
        for (metric, reason) in &other.0 {
            self.0.entry(metric).or_insert_with(|| reason.clone());
        }
    }

    /// Leaves out what a snapshot has after all, be it from one workload only.
    pub fn without_those_in(mut self, snapshot: &Snapshot) -> Self {
        for family in &snapshot.families {
            self.0.remove(family.metric.name);
        }
        self
    }

    /// Names and reasons, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(metric, reason)| (*metric, reason.as_str()))
    }

    /// Reasons, each with the names of all metrics that are absent for it.
    pub fn by_reason(&self) -> BTreeMap<&str, Vec<&'static str>> {
        let mut reasons: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        for (metric, reason) in self.iter() {
            reasons.entry(reason).or_default().push(metric);
        }
        reasons
    }

    /// `[{"metric": …, "reason": …}]`
    pub fn json(&self) -> Value {
        self.iter().map(|(metric, reason)| json!({ "metric": metric, "reason": reason })).collect()
    }
}

/// Metrics without any other source.
fn only_by(feature: FeatureId) -> &'static [&'static Metric] {
    static OPEN_FILES: [&Metric; 3] = [
        &container::RESOURCES_OPEN_FILES,
        &container::RESOURCES_OPEN_SOCKETS,
        &container::RESOURCES_OPEN_FILES_LIMIT_RATIO,
    ];
    match feature {
        FeatureId::ProcessFiles => &OPEN_FILES,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_one_reason_and_it_is_the_first() {
        let mut absent = Absent::default();
        absent.push(&container::RESTARTS_TOTAL, "known best");
        absent.push_all(&[&container::INFO, &container::RESTARTS_TOTAL], "guessed");
        let expected = json!([
            { "metric": "container_info", "reason": "guessed" },
            { "metric": "container_restarts_total", "reason": "known best" },
        ]);
        assert_eq!(absent.json(), expected);
    }
}
