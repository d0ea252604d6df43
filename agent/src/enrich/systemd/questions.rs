//! Which services systemd is still to be asked about, and when again after a failure.
//!
//! Every service stands here at most once, so the table is bounded by that of the workloads. Time is an argument.

use std::collections::{BTreeSet, HashMap};

use super::UnitError;
use crate::model::{BootNanos, WorkloadIx};

const SECOND: u64 = 1_000_000_000;
const LONGEST_WAIT: u64 = 300 * SECOND;

/// Services without an answer.
#[derive(Debug, Default)]
pub struct Questions {
    due: BTreeSet<(BootNanos, WorkloadIx)>,
    /// Attempts so far, of those who wait and of those who were asked about.
    attempts: HashMap<WorkloadIx, u32>,
}

impl Questions {
    /// Asks soon, unless the service is already on its way.
    pub fn push(&mut self, workload: WorkloadIx, now: BootNanos) {
        if self.attempts.insert(workload, 0).is_none() {
            self.due.insert((now, workload));
        }
    }

    /// The next service to ask about.
    pub fn pop(&mut self, now: BootNanos) -> Option<WorkloadIx> {
        let next = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.remove(&next);
        Some(next.1)
    }

    /// It could not be asked about now.
    pub fn put_back(&mut self, workload: WorkloadIx, now: BootNanos) {
        if self.attempts.contains_key(&workload) {
            self.due.insert((now, workload));
        }
    }

    /// There was an answer, or there will be none.
    pub fn finished(&mut self, workload: WorkloadIx) {
        self.attempts.remove(&workload);
    }

    /// There was none: asks again after one second, then two, four, up to five minutes. A unit that systemd does not know
    /// is gone, or is not one.
    pub fn failed(&mut self, workload: WorkloadIx, error: &UnitError, now: BootNanos) {
        let Some(attempts) = self.attempts.get_mut(&workload) else { return };
        if *error == UnitError::Unknown {
            self.attempts.remove(&workload);
            return;
        }
        *attempts += 1;
        let wait = (SECOND << (*attempts - 1).min(9)).min(LONGEST_WAIT);
        self.due.insert((now.after(wait), workload));
    }

    /// The workloads are gone.
    pub fn forget_all(&mut self, workloads: &[WorkloadIx]) {
        let known = self.attempts.len();
        for workload in workloads {
            self.attempts.remove(workload);
        }
        if self.attempts.len() < known {
            self.due.retain(|(_, workload)| self.attempts.contains_key(workload));
        }
    }

    /// Services without a final answer.
    pub fn pending(&self) -> usize {
        self.attempts.len()
    }

    /// Services that there is room for.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.attempts.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: WorkloadIx = WorkloadIx(1);

    fn at(seconds: u64) -> BootNanos {
        BootNanos(seconds * SECOND)
    }

    #[test]
    fn a_service_is_asked_about_once_until_it_restarts() {
        let mut questions = Questions::default();
        questions.push(ONE, at(1));
        questions.push(ONE, at(1));
        assert_eq!(
            (questions.pop(at(0)), questions.pop(at(1)), questions.pop(at(1))),
            (None, Some(ONE), None)
        );
        questions.push(ONE, at(1));
        assert_eq!(questions.pop(at(2)), None, "it is on its way");
        questions.put_back(ONE, at(2));
        assert_eq!(questions.pop(at(2)), Some(ONE), "there was no room");
        questions.finished(ONE);
        questions.push(ONE, at(3));
        assert_eq!((questions.pop(at(3)), questions.pending()), (Some(ONE), 1));
    }

    #[test]
    fn failures_back_off_to_five_minutes_and_unknown_units_are_final() {
        let mut questions = Questions::default();
        questions.push(ONE, at(0));
        let mut now = at(0);
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(questions.pop(now), Some(ONE), "{wait}");
            questions.failed(ONE, &UnitError::Unreachable("silent".into()), now);
            now = now.after(wait * SECOND);
            assert_eq!(questions.pop(now.before(1)), None, "{wait}");
        }
        assert_eq!(questions.pop(now), Some(ONE));
        questions.failed(ONE, &UnitError::Unknown, now);
        assert_eq!((questions.pending(), questions.pop(at(10_000))), (0, None));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let mut questions = Questions::default();
        questions.push(ONE, at(0));
        questions.forget_all(&[ONE]);
        questions.failed(ONE, &UnitError::Unreachable("silent".into()), at(0));
        questions.put_back(ONE, at(0));
        assert_eq!((questions.pop(at(1000)), questions.pending()), (None, 0));
    }
}
