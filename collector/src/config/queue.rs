//! Where the queue lives and how large it may grow.

use std::path::PathBuf;
use std::time::Duration;

use super::Problems;
use crate::units::{format_bytes, format_duration};

const MAX_BYTES_ALLOWED: std::ops::RangeInclusive<u64> = 8_000_000..=100_000_000_000_000;
const MAX_AGE_ALLOWED: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(365 * 86_400);

/// The durable queue's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Directory that one process owns at a time.
    pub data_dir: PathBuf,
    /// Bytes on disk; the oldest samples are dropped and counted above it.
    pub max_bytes: u64,
    /// Age at which samples that no target took are dropped and counted.
    pub max_age: Duration,
}

impl QueueConfig {
    /// Settings with the default bounds: 500 MB and 24 hours.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), max_bytes: 500_000_000, max_age: Duration::from_secs(86_400) }
    }

    /// What is wrong with the values; paths are those of the flags.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(
            !self.data_dir.as_os_str().is_empty(),
            "data-dir",
            "no directory given",
            "a directory",
        );
        problems.check(
            MAX_BYTES_ALLOWED.contains(&self.max_bytes),
            "queue-max-bytes",
            format!("{} is out of range", format_bytes(self.max_bytes)),
            format!(
                "{} to {}",
                format_bytes(*MAX_BYTES_ALLOWED.start()),
                format_bytes(*MAX_BYTES_ALLOWED.end())
            ),
        );
        problems.check(
            MAX_AGE_ALLOWED.contains(&self.max_age),
            "queue-max-age",
            format!("{} is out of range", format_duration(self.max_age)),
            format!(
                "{} to {}",
                format_duration(*MAX_AGE_ALLOWED.start()),
                format_duration(*MAX_AGE_ALLOWED.end())
            ),
        );
        problems
    }
}
