//! The durable log: append-only segments, one writer, any number of consumers with durable cursors.
//!
//! ```text
//! DIR/lock                                          held by the one process that may use DIR
//! DIR/log/GENERATION-FIRSTSEQUENCE-SALT.log         segments, oldest generation first
//! DIR/cursors/CONSUMER.cursor                       where each consumer is
//! ```
//!
//! A segment is a header and records; the byte layout stands in [`mod@format`] and in `docs/formats/log.md`.
//!
//! Invariants:
//! * An append resolves with success only after `fdatasync` of the segment, and of the directory when the segment is new.
//! * Sequences grow by one per record, and a record carries the number of samples before it: whatever is missing, by
//!   damage or by retention, is counted exactly by the next record that is found.
//! * Damage costs the damaged record, never what follows it. Only a half-written end is cut off, when the log is opened.
//! * After `fdatasync` failed nothing in that segment past the last confirmed byte is trusted: the segment is abandoned.
//! * A segment's records at or past the first sequence of the next segment are not part of the log.
//! * Memory does not depend on how much the log holds.

mod cursor;
mod disk;
mod error;
pub mod format;
mod index;
mod inspect;
mod lock;
#[cfg(test)]
mod model_tests;
mod reader;
mod recovery;
mod scan;
#[cfg(test)]
pub(crate) mod sim;
mod stats;
mod store;
#[cfg(test)]
mod store_tests;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use cursor::CursorState;
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::AppendError;
pub use format::{Kind, Position};
pub use inspect::{Inspection, SegmentReport, inspect};
pub use lock::{DirLock, LockError};
pub use reader::{Batch, Consumer, Record};
pub use stats::{Backlog, LogStats};
pub use store::CommitError;
pub(crate) use writer::now_ms;
pub use writer::{Log, Pending};

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Directory of segments and cursors.
    pub dir: PathBuf,
    /// Bytes of all segments; the oldest are removed above it.
    pub max_bytes: u64,
    /// Age of a segment's last record at which it is removed.
    pub max_age: Duration,
    /// Size at which a segment is closed and the next begun.
    pub segment_bytes: u64,
    /// Age of a segment's first record at which it is closed, so that retention by age has something to remove.
    pub segment_age: Duration,
    /// Largest payload of one record.
    pub max_record_bytes: u64,
}

impl LogOptions {
    /// Options for a queue with these bounds: about 16 segments of at most 64 MiB.
    pub fn new(dir: impl Into<PathBuf>, max_bytes: u64, max_age: Duration) -> Self {
        Self {
            dir: dir.into(),
            max_bytes,
            max_age,
            segment_bytes: (max_bytes / 16).clamp(1 << 16, 64 << 20),
            segment_age: (max_age / 16).clamp(Duration::from_secs(1), Duration::from_secs(3600)),
            max_record_bytes: (max_bytes / 4).min(64 << 20),
        }
    }
}
