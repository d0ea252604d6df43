//! What may stand in a snapshot. Prometheus refuses a whole scrape, and a remote-write target a whole request, for
//! one series that stands twice or carries a malformed label; so these are sorted out before anybody sees them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;

use super::{Family, Kind, Labels, Metric, Sample, Scope, Value};

/// Samples left out of snapshots, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    /// Another sample of the same metric has the same labels. The first one stays.
    pub duplicate: u64,
    /// A counter below zero, a value that is not a number, or a value that is not of the metric's type.
    pub invalid_value: u64,
    /// A label that is malformed, reserved, not declared by the metric, or given twice.
    pub invalid_label: u64,
    /// A series beyond the cap on those of its container.
    pub container_limit: u64,
    /// A series of a container beyond the node's cap on all series.
    pub node_limit: u64,
}

impl Rejections {
    /// Adds what another snapshot left out.
    pub fn add(&mut self, other: Self) {
        self.duplicate += other.duplicate;
        self.invalid_value += other.invalid_value;
        self.invalid_label += other.invalid_label;
        self.container_limit += other.container_limit;
        self.node_limit += other.node_limit;
    }

    /// Every reason with its count, also those that never occurred.
    pub fn by_reason(&self) -> [(&'static str, u64); 5] {
        [
            ("duplicate", self.duplicate),
            ("invalid_value", self.invalid_value),
            ("invalid_label", self.invalid_label),
            ("container_limit", self.container_limit),
            ("node_limit", self.node_limit),
        ]
    }
}

/// Sorts out the samples of one snapshot.
pub(super) struct Check<'a> {
    common: &'a Labels,
    of_containers: &'a Labels,
    common_is_valid: bool,
    /// Digest of a series to its position among the kept ones; reused by all families.
    seen: HashMap<u64, usize, BuildHasherDefault<Digest>>,
    rejected: Rejections,
}

impl<'a> Check<'a> {
    pub(super) fn new(common: &'a Labels, of_containers: &'a Labels) -> Self {
        let common_is_valid = common.is_valid() && of_containers.is_valid();
        Self {
            common,
            of_containers,
            common_is_valid,
            seen: HashMap::default(),
            rejected: Rejections::default(),
        }
    }

    /// Leaves the valid samples of a family, in their order. `looked` is called after each.
    pub(super) fn retain_valid(&mut self, family: &mut Family, mut looked: impl FnMut()) {
        self.seen.clear();
        let mut kept = 0;
        for next in 0..family.samples.len() {
            if self.admit(family, kept, next).is_continue() {
                family.samples.swap(kept, next);
                kept += 1;
            }
            looked();
        }
        family.samples.truncate(kept);
    }

    pub(super) fn finish(self) -> Rejections {
        self.rejected
    }

    /// Judges the sample at `next`, which will stand at `kept` if it stays.
    fn admit(&mut self, family: &Family, kept: usize, next: usize) -> ControlFlow<()> {
        let sample = &family.samples[next];
        let refused_by = if !has_valid_value(family.metric.kind, &sample.value) {
            Some(&mut self.rejected.invalid_value)
        } else if !self.has_valid_labels(family.metric, sample) {
            Some(&mut self.rejected.invalid_label)
        } else {
            match self.seen.entry(sample.digest()) {
                Entry::Occupied(first) if is_same_series(&family.samples[*first.get()], sample) => {
                    Some(&mut self.rejected.duplicate)
                }
                Entry::Occupied(_) => None,
                Entry::Vacant(free) => {
                    free.insert(kept);
                    None
                }
            }
        };
        match refused_by {
            Some(counter) => {
                *counter += 1;
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn has_valid_labels(&self, metric: &Metric, sample: &Sample) -> bool {
        let common = if metric.scope == Scope::Container { self.of_containers } else { self.common };
        self.common_is_valid
            && sample.owner.is_valid()
            && sample.own.is_valid()
            && sample.own.iter().all(|(name, _)| is_declared(metric.labels, name))
            && !sample.own.overlaps(&sample.owner)
            && !sample.own.overlaps(common)
            && !sample.owner.overlaps(common)
    }
}

fn has_valid_value(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => *number >= 0.0 && number.is_finite(),
        (Kind::Gauge, Value::Number(number)) => !number.is_nan(),
        (Kind::Histogram, Value::Histogram(histogram)) => !histogram.sum().is_nan(),
        _ => false,
    }
}

/// Whether a metric may have a label: it is declared, or begins as one that is declared with a `*` at its end, whose other
/// names are a matter of settings.
fn is_declared(declared: &[&str], name: &str) -> bool {
    let begins = |declared: &&str| declared.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
    declared.contains(&name) || declared.iter().any(begins)
}

/// Compares the labels of both, however they are split between owner and series.
fn is_same_series(a: &Sample, b: &Sample) -> bool {
    let count = |sample: &Sample| sample.owner.iter().count() + sample.own.iter().count();
    let has = |sample: &Sample, name, value| {
        sample.own.get(name).or_else(|| sample.owner.get(name)).is_some_and(|other| other == value)
    };
    count(a) == count(b) && a.owner.iter().chain(a.own.iter()).all(|(name, value)| has(b, name, value))
}

/// Digests are hashes already.
#[derive(Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::UnixMillis;
    use crate::model::{Buckets, Histogram};
    use crate::registry::catalog::{container, tcp};
    use crate::registry::{Metric, Scope, Snapshot, SnapshotBuilder};

    fn web() -> Arc<Labels> {
        Labels::new([("container_id", "/docker/web")])
    }

    fn build(add: impl FnOnce(&mut SnapshotBuilder)) -> Snapshot {
        let mut builder = SnapshotBuilder::default();
        add(&mut builder);
        builder.build(UnixMillis(0), Labels::new([("machine_id", "m")]))
    }

    fn values(snapshot: &Snapshot, metric: &Metric) -> Vec<f64> {
        let family = snapshot.families.iter().find(|family| family.metric.name == metric.name);
        let samples = family.map(|family| &family.samples[..]).unwrap_or_default();
        samples
            .iter()
            .map(|sample| match sample.value {
                Value::Number(number) => number,
                Value::Histogram(_) => panic!("not a number"),
            })
            .collect()
    }

    #[test]
    fn the_first_of_two_equal_series_stays() {
        let snapshot = build(|builder| {
            let own = Labels::new([("destination", "10.0.0.1:80")]);
            builder.number(&tcp::FAILED_CONNECTS_TOTAL, &web(), &own, 1.0);
            builder.number(&tcp::FAILED_CONNECTS_TOTAL, &web(), &Labels::empty(), 2.0);
            builder.number(&tcp::FAILED_CONNECTS_TOTAL, &web(), &own, 3.0);
            builder.number(&tcp::FAILED_CONNECTS_TOTAL, &web(), &own, 4.0);
        });
        assert_eq!(values(&snapshot, &tcp::FAILED_CONNECTS_TOTAL), [1.0, 2.0]);
        assert_eq!(snapshot.rejections, Rejections { duplicate: 2, ..Default::default() });
    }

    #[test]
    fn values_that_a_kind_cannot_have_are_left_out() {
        let histogram = Arc::new(Histogram::new(Buckets::AGENT));
        let snapshot = build(|builder| {
            let none = Labels::empty();
            builder.number(&container::RESTARTS_TOTAL, &web(), &none, -1.0);
            builder.number(&container::RESTARTS_TOTAL, &web(), &none, f64::INFINITY);
            builder.number(&container::RESOURCES_CPU_LIMIT_CORES, &web(), &none, f64::NAN);
            builder.histogram(&container::RESOURCES_CPU_LIMIT_CORES, &web(), &none, &histogram);
            builder.number(&container::RESOURCES_CPU_LIMIT_CORES, &web(), &none, 0.5);
        });
        assert!(values(&snapshot, &container::RESTARTS_TOTAL).is_empty());
        assert_eq!(values(&snapshot, &container::RESOURCES_CPU_LIMIT_CORES), [0.5]);
        assert_eq!(snapshot.rejections, Rejections { invalid_value: 4, ..Default::default() });
        assert!(snapshot.families.iter().all(|family| !family.samples.is_empty()));
    }

    /// Declares labels that belong to others.
    static GREEDY: Metric = Metric {
        name: "greedy",
        kind: Kind::Gauge,
        scope: Scope::Container,
        help: "of a test",
        labels: &["le", "container_id", "machine_id"],
        source: "a test",
    };

    #[test]
    fn labels_that_are_undeclared_reserved_or_given_twice_are_left_out() {
        let snapshot = build(|builder| {
            builder.number(&container::INFO, &web(), &Labels::new([("nobody_declared_this", "x")]), 1.0);
            for name in GREEDY.labels {
                builder.number(&GREEDY, &web(), &Labels::new([(*name, "x")]), 1.0);
            }
            builder.number(&container::INFO, &Labels::new([("machine_id", "x")]), &Labels::empty(), 1.0);
            builder.number(&container::INFO, &web(), &Labels::new([("image", "nginx")]), 1.0);
        });
        assert_eq!(values(&snapshot, &container::INFO), [1.0]);
        assert_eq!(snapshot.rejections, Rejections { invalid_label: 5, ..Default::default() });
    }

    #[test]
    fn what_was_left_out_is_counted_over_all_snapshots() {
        let mut builder = SnapshotBuilder::after(Rejections { duplicate: 7, ..Default::default() });
        for _ in 0..2 {
            builder.number(&container::RESTARTS_TOTAL, &web(), &Labels::empty(), 1.0);
        }
        let snapshot = builder.build(UnixMillis(0), Labels::empty());
        assert_eq!(snapshot.rejections.duplicate, 8);
        assert_eq!(
            values(&snapshot, &crate::registry::catalog::agent::SERIES_REJECTED_TOTAL),
            [8.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(values(&snapshot, &crate::registry::catalog::agent::SERIES), [snapshot.series() as f64]);
    }
}
