//! What the HTTP server counts about itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::registry::catalog::agent::{SCRAPE_DURATION_SECONDS, SCRAPES_FAILED_TOTAL, SCRAPES_TOTAL};
use crate::registry::{Buckets, Format, Histogram, Labels, SnapshotBuilder};

/// Why a scrape is not answered to the end.
pub(super) const FAILURES: [&str; 6] =
    ["busy", "client_gone", "client_slow", "compression", "stopping", "timeout"];

/// Counts of scrapes, shared between the server and whoever makes snapshots.
#[derive(Debug, Default)]
pub struct Stats {
    /// Held for single steps on a few numbers, never over an await.
    counts: Mutex<Counts>,
}

#[derive(Debug)]
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
        let counts = self.lock();
        builder.histogram(&SCRAPE_DURATION_SECONDS, &none, &none, &Arc::new(counts.durations.clone()));
        for format in Format::ALL {
            let own = Labels::new([("format", format.name())]);
            builder.number(&SCRAPES_TOTAL, &none, &own, counts.answered[format as usize] as f64);
        }
        for reason in FAILURES {
            let count = counts.failed.get(reason).copied().unwrap_or_default();
            builder.number(&SCRAPES_FAILED_TOTAL, &none, &Labels::new([("reason", reason)]), count as f64);
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
