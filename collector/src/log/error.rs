//! Why an append is refused.

use std::path::PathBuf;

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
