//! What a log tells about itself.

use serde::Serialize;

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

/// What a consumer has not done with yet, and what it lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Samples that it did not read, or not release.
    pub samples: u64,
    /// Their bytes as stored.
    pub bytes: u64,
    /// Age of the oldest of them, seconds; 0 when there is none.
    pub oldest_age_seconds: f64,
    /// Samples lost to damage.
    pub lost_damaged: u64,
    /// Samples removed by the bounds before it read them.
    pub lost_expired: u64,
}
