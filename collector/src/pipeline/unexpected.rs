//! Notices a part of the pipeline that ends without being told to, as by a panic.

use std::sync::Arc;

use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

/// The first part that ended early, once there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Unexpected(Arc<SetOnce<String>>);

/// Held by a part for as long as it runs.
#[derive(Debug)]
pub(super) struct Running {
    part: String,
    stop: CancellationToken,
    unexpected: Unexpected,
}

impl Unexpected {
    /// The end of `part` is expected only after `stop`.
    pub fn watch(&self, part: impl Into<String>, stop: &CancellationToken) -> Running {
        Running { part: part.into(), stop: stop.clone(), unexpected: self.clone() }
    }

    /// Resolves with the name of the part.
    pub async fn part(&self) -> &str {
        self.0.wait().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            // The first one says it all: another is most likely its consequence.
            let _ = self.unexpected.0.set(std::mem::take(&mut self.part));
        }
    }
}
