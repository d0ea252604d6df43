//! Log and forwarders put together: what is appended is durable, and reaches every target from there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Problems, QueueConfig, RemoteWriteTarget};
use crate::wire::remote_write::WriteRequest;

/// What a pipeline is made of.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// The durable queue.
    pub queue: QueueConfig,
    /// Where to forward to; none is allowed.
    pub targets: Vec<RemoteWriteTarget>,
    /// `User-Agent` of requests, such as `sonde-agent/0.1.0`.
    pub user_agent: String,
}

/// Why a pipeline could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] Problems),
    /// Another process owns the directory.
    #[error("data directory {path} is in use by {owner}", path = path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, as it wrote itself down.
        owner: String,
    },
    /// The directory or a file in it cannot be used.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// `create`, `lock`, `read` …
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Why samples were not taken. None of them is acknowledged; the caller may try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No space on the disk.
    #[error("no space left in {path}", path = path.display())]
    DiskFull {
        /// The data directory.
        path: PathBuf,
    },
    /// The disk refused to write, or did not confirm what was written.
    #[error("cannot write to {path}: {reason}", path = path.display())]
    Io {
        /// The data directory.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// The request is larger than the queue takes at once.
    #[error("request of {bytes} bytes is too large, allowed are {allowed}")]
    TooLarge {
        /// Its size as stored.
        bytes: u64,
        /// Bound.
        allowed: u64,
    },
    /// The pipeline was shut down.
    #[error("the pipeline is shut down")]
    Closed,
}

/// What a pipeline holds and did, for `/status` and self-metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PipelineStats {
    /// The log.
    pub log: LogStats,
    /// Each target, by its name.
    pub targets: BTreeMap<String, TargetStats>,
}

/// What the log holds and did since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogStats {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bound on them.
    pub max_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Age of the oldest record, seconds; 0 when there is none.
    pub oldest_age_seconds: f64,
    /// Records appended.
    pub appended_records: u64,
    /// Samples appended.
    pub appended_samples: u64,
    /// Bytes appended.
    pub appended_bytes: u64,
    /// Appends refused because the disk was full.
    pub refused_disk_full: u64,
    /// Appends refused because the disk failed.
    pub refused_io: u64,
    /// `fdatasync` calls.
    pub syncs: u64,
    /// `fdatasync` calls that failed; each abandoned a segment.
    pub sync_failures: u64,
    /// Bytes of half-written records cut off when the log was opened.
    pub torn_bytes: u64,
    /// Segments removed, because every target has them or by the bounds.
    pub segments_removed: u64,
    /// Last error of the disk.
    pub last_error: Option<String>,
}

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

/// A durable log with one forwarder per target.
#[derive(Debug)]
pub struct Pipeline {}

impl Pipeline {
    /// Locks the data directory, recovers what it holds, and starts forwarding.
    pub async fn open(config: PipelineConfig) -> Result<Self, OpenError> {
        config.queue.problems().into_result()?;
        Ok(Self {})
    }

    /// Appends a request. Resolves only after its record is on disk.
    pub async fn append(&self, _request: WriteRequest) -> Result<(), AppendError> {
        Err(AppendError::Closed)
    }

    /// What it holds and did.
    pub fn stats(&self) -> PipelineStats {
        PipelineStats::default()
    }

    /// Stops taking samples, lets what was taken become durable, and gives the forwarders until `deadline` from now to
    /// end their current request.
    pub async fn shutdown(&self, _deadline: Duration) {}
}
