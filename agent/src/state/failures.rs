//! Failed attempts to connect: by workload, destination and reason.

use super::flows::Peer;
use super::table::{Key, Row, Table};
use crate::model::{Failure, WorkloadIx};

/// Identity of a row: what was behind a destination is not known of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FailureKey {
    /// Who tried.
    pub workload: WorkloadIx,
    /// The address or name asked for, as if nothing were behind it.
    pub peer: Peer,
}

impl Key for FailureKey {
    fn workload(self) -> WorkloadIx {
        self.workload
    }

    fn of(self, workload: WorkloadIx) -> Self {
        Self { workload, ..self }
    }

    fn overflow(self) -> Self {
        Self { peer: Peer::Overflow, ..self }
    }
}

/// All failures.
pub type Failures = Table<FailureKey, FailureCounts>;

/// Failures of one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts([u64; Failure::ALL.len()]);

impl FailureCounts {
    /// Adds one.
    pub fn add(&mut self, reason: Failure) {
        self.0[reason as usize] += 1;
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Row for FailureCounts {
    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, other)| *count += other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_counts_for_itself() {
        let mut counts = FailureCounts::default();
        for (index, reason) in Failure::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counts.add(reason));
        }
        let counted: Vec<_> = counts.iter().map(|(_, count)| count).collect();
        assert_eq!(counted, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(counts.total(), 45);
    }
}
