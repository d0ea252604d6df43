//! What a forwarder tells about itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

/// What became of one target's samples since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TargetStats {
    /// The URL without secrets.
    pub url: String,
    /// Samples in the log that were not delivered yet.
    pub pending_samples: u64,
    /// Bytes in the log that were not delivered yet.
    pub pending_bytes: u64,
    /// Age of the oldest of them, seconds; 0 when there is none.
    pub lag_seconds: f64,
    /// Samples delivered.
    pub sent_samples: u64,
    /// Requests that were answered by 2xx.
    pub sent_requests: u64,
    /// Bytes of their bodies.
    pub sent_bytes: u64,
    /// Requests that failed and were tried again.
    pub retries: u64,
    /// Samples dropped, by reason.
    pub dropped_samples: BTreeMap<String, u64>,
    /// `true` while the last request succeeded or none was needed.
    pub healthy: bool,
    /// Last error, until a request succeeds.
    pub last_error: Option<String>,
}

/// What others may see of a forwarder. The lock is held for arithmetic only.
#[derive(Debug, Default)]
pub struct SharedStats(Mutex<TargetStats>);

impl SharedStats {
    /// Statistics of a target, healthy until a request fails.
    pub fn new(url: String) -> Self {
        Self(Mutex::new(TargetStats { url, healthy: true, ..TargetStats::default() }))
    }

    /// A copy.
    pub fn get(&self) -> TargetStats {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TargetStats> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn note_failure(&self, error: &str, is_retry: bool) {
        let mut stats = self.lock();
        stats.healthy = false;
        stats.retries += u64::from(is_retry);
        stats.last_error = Some(error.into());
    }
}
