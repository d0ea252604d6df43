//! All series at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Labels, Metric};
use crate::model::UnixMillis;

/// A value of a sample.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a counter or gauge.
    Number(f64),
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

/// All samples of one metric.
#[derive(Debug)]
pub struct Family {
    /// The metric.
    pub metric: &'static Metric,
    /// Its samples, in the order they were added.
    pub samples: Vec<Sample>,
}

/// All series at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub at: UnixMillis,
    /// Labels that every series carries.
    pub common: Arc<Labels>,
    /// Families in order of their names.
    pub families: Vec<Family>,
}

/// Collects samples in any order.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    families: Vec<Family>,
    index: HashMap<&'static str, usize>,
}

impl SnapshotBuilder {
    /// Adds a sample.
    pub fn number(&mut self, metric: &'static Metric, owner: &Arc<Labels>, own: &Arc<Labels>, value: f64) {
        let index = *self.index.entry(metric.name).or_insert_with(|| {
            self.families.push(Family { metric, samples: Vec::new() });
            self.families.len() - 1
        });
        self.families[index].samples.push(Sample {
            owner: owner.clone(),
            own: own.clone(),
            value: Value::Number(value),
        });
    }

    /// Finishes the snapshot.
    pub fn build(self, at: UnixMillis, common: Arc<Labels>) -> Snapshot {
        let mut families = self.families;
        families.sort_by_key(|family| family.metric.name);
        Snapshot { at, common, families }
    }
}
