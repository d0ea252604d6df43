//! What pushing counts about itself, and what the embedded collector counts, as series.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sonde_collector::PipelineStats;
use sonde_collector::pipeline::{LogStats, TargetStats};

use super::PushError;
use crate::registry::catalog::agent as catalog;
use crate::registry::{Labels, SnapshotBuilder};

/// Counts of pushes, shared between the push loop and whoever makes snapshots.
#[derive(Debug, Default)]
pub struct Stats {
    /// Held for single steps on a few numbers, never over an await.
    counts: Mutex<Counts>,
}

/// What pushing did since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Snapshots that became durable as a whole.
    pub appended: u64,
    /// Intervals that passed without a push because the one before took too long.
    pub missed: u64,
    /// Snapshots that did not become durable, or not as a whole.
    pub failed: u64,
    /// Markers appended for series that ended.
    pub stale_markers: u64,
    /// Why the last push failed; absent when it did not.
    pub last_error: Option<String>,
}

impl Stats {
    /// A copy.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// The counts for `/status`.
    pub fn status(&self) -> serde_json::Value {
        let Counts { appended, missed, failed, stale_markers, last_error } = self.counts();
        serde_json::json!({
            "appended": appended,
            "missed": missed,
            "failed": failed,
            "stale_markers": stale_markers,
            "last_error": last_error,
        })
    }

    /// Adds the series.
    pub fn collect(&self, builder: &mut SnapshotBuilder) {
        let none = Labels::empty();
        let counts = self.counts();
        let results = [("appended", counts.appended), ("missed", counts.missed), ("failed", counts.failed)];
        for (result, count) in results {
            builder.number(
                &catalog::PUSH_TICKS_TOTAL,
                &none,
                &Labels::new([("result", result)]),
                count as f64,
            );
        }
        builder.number(&catalog::PUSH_STALE_MARKERS_TOTAL, &none, &none, counts.stale_markers as f64);
    }

    /// Counts a push, and logs when it begins to fail and when it works again.
    pub(super) fn count(&self, result: &Result<(), PushError>) {
        let mut counts = self.lock();
        match result {
            Ok(()) => {
                counts.appended += 1;
                if counts.last_error.take().is_some() {
                    tracing::info!(failed = counts.failed, "pushing works again");
                }
            }
            Err(error) => {
                counts.failed += 1;
                if counts.last_error.replace(error.to_string()).is_none() {
                    tracing::warn!(%error, "failed to push a snapshot");
                }
            }
        }
    }

    pub(super) fn count_missed(&self, intervals: u32) {
        self.lock().missed += u64::from(intervals);
    }

    pub(super) fn count_stale(&self, markers: usize) {
        self.lock().stale_markers += markers as u64;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the series of the embedded collector.
pub fn collect_pipeline(stats: &PipelineStats, builder: &mut SnapshotBuilder) {
    collect_log(&stats.log, builder);
    for (name, target) in &stats.targets {
        collect_target(name, target, builder);
    }
}

fn collect_log(log: &LogStats, builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    let numbers = [
        (&catalog::PUSH_QUEUE_BYTES, log.bytes as f64),
        (&catalog::PUSH_QUEUE_MAX_BYTES, log.max_bytes as f64),
        (&catalog::PUSH_QUEUE_OLDEST_SECONDS, log.oldest_age_seconds),
        (&catalog::PUSH_APPENDED_SAMPLES_TOTAL, log.appended_samples as f64),
        (&catalog::PUSH_SYNC_FAILURES_TOTAL, log.sync_failures as f64),
        (&catalog::PUSH_TORN_BYTES_TOTAL, log.torn_bytes as f64),
    ];
    for (metric, value) in numbers {
        builder.number(metric, &none, &none, value);
    }
    for (reason, count) in [("disk_full", log.refused_disk_full), ("io", log.refused_io)] {
        let own = Labels::new([("reason", reason)]);
        builder.number(&catalog::PUSH_APPENDS_REFUSED_TOTAL, &none, &own, count as f64);
    }
}

fn collect_target(name: &str, target: &TargetStats, builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    let own = Labels::new([("target", name)]);
    let numbers = [
        (&catalog::PUSH_TARGET_HEALTHY, f64::from(u8::from(target.healthy))),
        (&catalog::PUSH_PENDING_SAMPLES, target.pending_samples as f64),
        (&catalog::PUSH_PENDING_BYTES, target.pending_bytes as f64),
        (&catalog::PUSH_LAG_SECONDS, target.lag_seconds),
        (&catalog::PUSH_SENT_SAMPLES_TOTAL, target.sent_samples as f64),
        (&catalog::PUSH_SENT_BYTES_TOTAL, target.sent_bytes as f64),
        (&catalog::PUSH_RETRIES_TOTAL, target.retries as f64),
    ];
    for (metric, value) in numbers {
        builder.number(metric, &none, &own, value);
    }
    for (reason, count) in &target.dropped_samples {
        let own = Labels::new([("target", name), ("reason", reason)]);
        builder.number(&catalog::PUSH_DROPPED_SAMPLES_TOTAL, &none, &own, *count as f64);
    }
}
