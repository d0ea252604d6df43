//! Pushing: at every interval the snapshot goes, as remote-write requests, into the durable queue of the embedded
//! collector. From there on delivery is the collector's.
//!
//! A series that was pushed and is no longer there gets a stale marker once, so that it ends in graphs where it ended
//! in life. Not so at the end of the agent: a restart is not the end of what it observes, the series go on with the
//! next process, and those which do not end by the target's own lookback.
//!
//! What is remembered between two pushes is the snapshot pushed last, so memory does not grow with time or churn.

mod requests;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use sonde_collector::wire::remote_write::WriteRequest;
use sonde_collector::{AppendError, Pipeline};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::registry::{Snapshot, Source};
pub use requests::instance_of;
pub use stats::{Stats, collect_pipeline};

/// Takes requests and keeps them.
pub trait Queue: Send + Sync {
    /// Resolves when the request is durable.
    fn append(&self, request: WriteRequest) -> impl Future<Output = Result<(), AppendError>> + Send;
}

impl Queue for Arc<Pipeline> {
    async fn append(&self, request: WriteRequest) -> Result<(), AppendError> {
        Pipeline::append(self, request).await
    }
}

/// Why a snapshot was not pushed.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the snapshot took longer than the interval")]
    SnapshotTimeout,
    #[error(transparent)]
    Source(#[from] crate::registry::SourceGone),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Pushes at every interval until `stop`, and once more then.
pub async fn run(
    source: impl Source,
    queue: impl Queue,
    interval: Duration,
    stats: Arc<Stats>,
    stop: CancellationToken,
) {
    let mut pusher = Pusher { source, queue, interval, stats, pushed: None, described: None };
    let mut due = Instant::now();
    while stop.run_until_cancelled(tokio::time::sleep_until(due)).await.is_some() {
        // A scrape at this moment may have made a snapshot already, yet the one pushed must be another than the last.
        pusher.push(interval / 2).await;
        let missed = due.elapsed().as_nanos() / interval.as_nanos();
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        pusher.stats.count_missed(missed);
        due += interval * missed.saturating_add(1);
    }
    // What happened since the last one would be lost with the process.
    pusher.push(Duration::ZERO).await;
}

struct Pusher<S, Q> {
    source: S,
    queue: Q,
    interval: Duration,
    stats: Arc<Stats>,
    /// The snapshot of the last push.
    pushed: Option<Arc<Snapshot>>,
    /// When the metrics' types and texts were last sent.
    described: Option<Instant>,
}

/// Time between two descriptions of the metrics; Prometheus keeps them in memory only, and describes its own as often.
const DESCRIBE_EVERY: Duration = Duration::from_secs(60);

impl<S: Source, Q: Queue> Pusher<S, Q> {
    async fn push(&mut self, max_age: Duration) {
        let result = self.try_push(max_age).await;
        self.stats.count(&result);
    }

    async fn try_push(&mut self, max_age: Duration) -> Result<(), PushError> {
        let snapshot = tokio::time::timeout(self.interval, self.source.snapshot(max_age))
            .await
            .map_err(|_| PushError::SnapshotTimeout)??;
        let previous = self.pushed.clone();
        let describe = self.described.is_none_or(|at| at.elapsed() >= DESCRIBE_EVERY);
        for batch in requests::requests(previous.as_deref(), &snapshot, describe) {
            self.queue.append(batch.request).await?;
            self.stats.count_stale(batch.ended);
            self.pushed = Some(snapshot.clone());
        }
        if describe {
            self.described = Some(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
