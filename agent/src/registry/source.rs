//! Where snapshots come from, seen by whoever shows them.

use std::sync::Arc;
use std::time::Duration;

use super::Snapshot;

/// Whoever made the snapshots has ended; there will be no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the observer has ended")]
pub struct SourceGone;

/// Something that takes snapshots when asked.
pub trait Source: Send + Sync + 'static {
    /// A snapshot not older than `max_age`; askers at the same time get the same one.
    fn snapshot(&self, max_age: Duration) -> impl Future<Output = Result<Arc<Snapshot>, SourceGone>> + Send;
}
