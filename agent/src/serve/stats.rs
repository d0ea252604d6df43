//! What the HTTP server counts about itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::{Buckets, Histogram};
use crate::registry::catalog::agent::{
    PROMHTTP_METRIC_HANDLER_ERRORS_TOTAL, SCRAPE_DURATION_SECONDS, SCRAPES_FAILED_TOTAL, SCRAPES_TOTAL,
};
use crate::registry::{Format, Labels, SnapshotBuilder};

/// Why a scrape is not answered to the end.
pub(super) const FAILURES: [&str; 6] =
    ["busy", "client_gone", "client_slow", "compression", "stopping", "timeout"];

/// The causes by which Prometheus' client library counts, with the reasons that they stand for. It does not count what it
/// refuses because too many ask at a time.
const CAUSES: [(&str, &[&str]); 2] =
    [("encoding", &["client_gone", "client_slow", "compression"]), ("gathering", &["stopping", "timeout"])];

/// Counts of scrapes, shared between the server and whoever makes snapshots.
#[derive(Debug, Default)]
pub struct Stats {
    /// Held for single steps on a few numbers, never over an await.
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) durations: Histogram,
    /// By format.
    pub(super) answered: [u64; Format::ALL.len()],
    pub(super) failed: BTreeMap<&'static str, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            durations: Histogram::new(Buckets::AGENT),
            answered: [0; Format::ALL.len()],
            failed: BTreeMap::new(),
        }
    }
}

impl Stats {
    /// Adds the series.
    pub fn collect(&self, builder: &mut SnapshotBuilder) {
        let none = Labels::empty();
        // Not under the lock: whoever answers a scrape would wait while the builder makes a pause.
        let counts = self.lock().clone();
        builder.histogram(&SCRAPE_DURATION_SECONDS, &none, &none, &Arc::new(counts.durations.clone()));
        for format in Format::ALL {
            let own = Labels::new([("format", format.name())]);
            builder.number(&SCRAPES_TOTAL, &none, &own, counts.answered[format as usize] as f64);
        }
        let failed = |reason: &str| counts.failed.get(reason).copied().unwrap_or_default();
        for reason in FAILURES {
            let own = Labels::new([("reason", reason)]);
            builder.number(&SCRAPES_FAILED_TOTAL, &none, &own, failed(reason) as f64);
        }
        for (cause, reasons) in CAUSES {
            let count: u64 = reasons.iter().map(|reason| failed(reason)).sum();
            let own = Labels::new([("cause", cause)]);
            builder.number(&PROMHTTP_METRIC_HANDLER_ERRORS_TOTAL, &none, &own, count as f64);
        }
    }

    pub(super) fn count_failed(&self, reason: &'static str) {
        debug_assert!(FAILURES.contains(&reason), "{reason} would not be shown");
        *self.lock().failed.entry(reason).or_default() += 1;
    }

    pub(super) fn timer(self: &Arc<Self>, format: Format) -> Timer {
        Timer { stats: self.clone(), format, start: Instant::now() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures one scrape.
pub(super) struct Timer {
    stats: Arc<Stats>,
    format: Format,
    start: Instant,
}

impl Timer {
    /// The answer was handed over.
    pub(super) fn done(self) {
        let seconds = self.start.elapsed().as_secs_f64();
        let mut counts = self.stats.lock();
        counts.durations.observe(seconds);
        counts.answered[self.format as usize] += 1;
    }

    /// The answer was not taken to its end.
    pub(super) fn failed(self, reason: &'static str) {
        self.stats.count_failed(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;
    use crate::registry::{Metric, Value};

    #[test]
    fn failures_are_counted_by_reason_and_by_the_causes_of_prometheus() {
        let stats = Stats::default();
        for (index, reason) in FAILURES.into_iter().enumerate() {
            (0..1 << index).for_each(|_| stats.count_failed(reason));
        }
        let mut builder = SnapshotBuilder::default();
        stats.collect(&mut builder);
        let snapshot = builder.build(UnixMillis(0), Labels::empty());
        let counts = |metric: &Metric, label| -> Vec<(String, f64)> {
            let family = snapshot.families.iter().find(|family| family.metric.name == metric.name).unwrap();
            let count = |value: &Value| match value {
                Value::Number(number) => *number,
                Value::Histogram(_) => panic!("{} is a counter", metric.name),
            };
            let samples = family.samples.iter();
            samples.map(|one| (one.own.get(label).unwrap().to_owned(), count(&one.value))).collect()
        };
        let of = |name: &str, count| (name.to_owned(), count);
        assert_eq!(counts(&SCRAPES_FAILED_TOTAL, "reason")[0], of("busy", 1.0));
        assert_eq!(
            counts(&PROMHTTP_METRIC_HANDLER_ERRORS_TOTAL, "cause"),
            [of("encoding", 2.0 + 4.0 + 8.0), of("gathering", 16.0 + 32.0)]
        );
    }
}
