//! Numbers of the machine on their way from a text file of the kernel to a series.
//!
//! The parsers are pure: text in, numbers out. What is not in the text has no number.

use std::sync::Arc;

use crate::registry::{Labels, Metric, SnapshotBuilder};

/// One value of a series of the machine.
#[derive(Clone, Debug)]
pub struct Number {
    /// What it is.
    pub metric: &'static Metric,
    /// Labels of the series.
    pub own: Arc<Labels>,
    /// The value, in the metric's unit.
    pub value: f64,
}

impl Number {
    /// A number of a metric without labels.
    pub(super) fn plain(metric: &'static Metric, value: f64) -> Self {
        Self { metric, own: Labels::empty(), value }
    }

    /// A number of a metric with one label.
    pub(super) fn labelled(
        metric: &'static Metric,
        (name, label): (&'static str, &'static str),
        value: f64,
    ) -> Self {
        Self { metric, own: Labels::new([(name, label)]), value }
    }

    /// Adds it as a sample of the machine.
    pub(super) fn emit(&self, builder: &mut SnapshotBuilder) {
        builder.number(self.metric, &Labels::empty(), &self.own, self.value);
    }
}

/// The value after a key in a file of `key value` lines.
pub(super) fn keyed(text: &str, key: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    integer(value.trim())
}

/// A whole number that is not negative, as a series shows it.
pub(super) fn integer(text: &str) -> Option<f64> {
    text.parse::<u64>().ok().map(|value| value as f64)
}
