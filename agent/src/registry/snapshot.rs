//! All series at one moment. One bad sample never voids a snapshot: it is left out and counted.

use std::collections::HashMap;
use std::sync::Arc;

use super::check::{Check, Rejections};
use super::{Labels, Metric, Scope, SeriesCaps, catalog, limit};
use crate::model::{Histogram, UnixMillis};
use crate::pace::Pace;

/// A value of a sample.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Histogram(Arc<Histogram>),
}

/// One series' value. Its labels are the snapshot's common ones, the owner's, and its own.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Labels of the container or of the node.
    pub owner: Arc<Labels>,
    /// Labels of the series.
    pub own: Arc<Labels>,
    /// Value.
    pub value: Value,
}

impl Sample {
    /// The same for every sample of a metric with the same labels, and hardly ever for another.
    pub(crate) fn digest(&self) -> u64 {
        self.owner.digest().wrapping_add(self.own.digest())
    }

    /// Whether both have the very same label sets.
    pub(crate) fn shares_labels(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.owner, &other.owner) && Arc::ptr_eq(&self.own, &other.own)
    }
}

/// All samples of one metric.
#[derive(Debug)]
pub struct Family {
    /// The metric.
    pub metric: &'static Metric,
    /// Its samples, in the order they were added; no two with the same labels.
    pub samples: Vec<Sample>,
}

/// All series at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub at: UnixMillis,
    /// Labels that every series carries.
    pub common: Arc<Labels>,
    /// Labels that every series of a container carries: the common ones and the scope's own.
    pub of_containers: Arc<Labels>,
    /// Families in order of their names, none without samples.
    pub families: Vec<Family>,
    /// What was left out, in this snapshot and in those before it.
    pub rejections: Rejections,
}

impl Snapshot {
    /// Labels that every series of a metric carries.
    pub fn labels_of(&self, metric: &Metric) -> &Arc<Labels> {
        if metric.scope == Scope::Container { &self.of_containers } else { &self.common }
    }

    /// Number of samples.
    pub fn series(&self) -> usize {
        self.families.iter().map(|family| family.samples.len()).sum()
    }
}

/// Collects samples in any order.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    families: Vec<Family>,
    index: HashMap<&'static str, usize>,
    rejections: Rejections,
    caps: Option<SeriesCaps>,
    container_labels: Option<Arc<Labels>>,
    pace: Option<Pace>,
}

impl SnapshotBuilder {
    /// Starts a snapshot that goes on counting where the one before it stopped.
    pub fn after(rejections: Rejections) -> Self {
        Self { rejections, ..Self::default() }
    }

    /// Leaves out series of containers above so many.
    #[must_use]
    pub fn limited_to(mut self, caps: SeriesCaps) -> Self {
        self.caps = Some(caps);
        self
    }

    /// Makes pauses while samples are added and checked.
    #[must_use]
    pub fn with_pauses(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Makes a pause if it is time for one, when nothing was added for long.
    pub fn breathe(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.breathe();
        }
    }

    /// Gives labels to every series of a container, besides the common ones.
    #[must_use]
    pub fn with_container_labels(mut self, labels: Arc<Labels>) -> Self {
        self.container_labels = Some(labels);
        self
    }

    /// Adds a sample of a counter or gauge.
    pub fn number(&mut self, metric: &'static Metric, owner: &Arc<Labels>, own: &Arc<Labels>, value: f64) {
        self.add(metric, owner, own, Value::Number(value));
    }

    /// Adds a sample of a histogram.
    pub fn histogram(
        &mut self,
        metric: &'static Metric,
        owner: &Arc<Labels>,
        own: &Arc<Labels>,
        value: &Arc<Histogram>,
    ) {
        self.add(metric, owner, own, Value::Histogram(value.clone()));
    }

    /// Finishes the snapshot: leaves out what would make it invalid, and adds the registry's own series.
    pub fn build(mut self, at: UnixMillis, common: Arc<Labels>) -> Snapshot {
        let of_containers = match self.container_labels.take().filter(|labels| labels.iter().next().is_some())
        {
            Some(more) => Labels::new(common.iter().chain(more.iter())),
            None => common.clone(),
        };
        let mut check = Check::new(&common, &of_containers);
        for family in &mut self.families {
            check.retain_valid(family, || step(&mut self.pace));
        }
        self.rejections.add(check.finish());
        self.breathe();
        if let Some(caps) = self.caps {
            self.rejections.add(limit::enforce(&mut self.families, caps));
        }
        self.families.retain(|family| !family.samples.is_empty());
        self.reindex();
        self.add_own_series();
        self.families.sort_by_key(|family| family.metric.name);
        Snapshot { at, common, of_containers, families: self.families, rejections: self.rejections }
    }

    fn add(&mut self, metric: &'static Metric, owner: &Arc<Labels>, own: &Arc<Labels>, value: Value) {
        step(&mut self.pace);
        let index = *self.index.entry(metric.name).or_insert_with(|| {
            self.families.push(Family { metric, samples: Vec::new() });
            self.families.len() - 1
        });
        self.families[index].samples.push(Sample { owner: owner.clone(), own: own.clone(), value });
    }

    fn reindex(&mut self) {
        let positions = self.families.iter().enumerate();
        self.index = positions.map(|(index, family)| (family.metric.name, index)).collect();
    }

    fn add_own_series(&mut self) {
        let none = Labels::empty();
        for (reason, count) in self.rejections.by_reason() {
            let own = Labels::new([("reason", reason)]);
            self.number(&catalog::agent::SERIES_REJECTED_TOTAL, &none, &own, count as f64);
        }
        let series = self.families.iter().map(|family| family.samples.len()).sum::<usize>() + 1;
        self.number(&catalog::agent::SERIES, &none, &none, series as f64);
    }
}

/// A sample was looked at.
fn step(pace: &mut Option<Pace>) {
    if let Some(pace) = pace {
        pace.step();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pauses_may_be_made_between_samples() {
        let (none, metric) = (Labels::empty(), &catalog::agent::SERIES_REJECTED_TOTAL);
        let mut builder = SnapshotBuilder::default().with_pauses(Pace::tired());
        let paused = |builder: &SnapshotBuilder| builder.pace.as_ref().map_or(Duration::ZERO, Pace::paused);
        assert_eq!(paused(&builder), Duration::ZERO);
        for number in 0..64 {
            let own = Labels::new([("reason", number.to_string().as_str())]);
            builder.number(metric, &none, &own, 1.0);
        }
        assert!(paused(&builder) > Duration::ZERO);
        let mut looked = 0;
        let family = &mut builder.families[0];
        Check::new(&none, &none).retain_valid(family, || looked += 1);
        assert_eq!((looked, family.samples.len()), (64, 64));
    }
}
