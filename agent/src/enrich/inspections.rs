//! Which containers a runtime is still to be asked about, and when again after a failure.
//!
//! Every container stands in at most one place (ready, waiting, or asked), so the queue is bounded by the table of
//! workloads. Time is an argument.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::metadata::{ContainerRef, InspectError};
use crate::model::{BootNanos, WorkloadIx};

/// Questions by state.
#[derive(Debug, Default)]
pub struct Inspections {
    ready: VecDeque<ContainerRef>,
    waiting: BTreeMap<(BootNanos, WorkloadIx), ContainerRef>,
    attempts: HashMap<WorkloadIx, Attempts>,
}

/// What was tried for one container.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    failures: u32,
    /// Denials in a row.
    denials: u32,
}

const SECOND: u64 = 1_000_000_000;
const LONGEST_WAIT: u64 = 60 * SECOND;
/// A runtime lists a container before it makes its cgroup: after a few denials the container is someone else's.
const DENIALS: u32 = 3;

impl Inspections {
    /// Asks soon, unless the container is already on its way.
    pub fn push(&mut self, container: ContainerRef) {
        if self.attempts.insert(container.workload, Attempts::default()).is_none() {
            self.ready.push_back(container);
        }
    }

    /// The next container to ask about.
    pub fn pop(&mut self, now: BootNanos) -> Option<ContainerRef> {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            self.ready.push_back(entry.remove());
        }
        // What was dropped meanwhile is skipped.
        while let Some(container) = self.ready.pop_front() {
            if self.attempts.contains_key(&container.workload) {
                return Some(container);
            }
        }
        None
    }

    /// It could not be asked about now.
    pub fn put_back(&mut self, container: ContainerRef) {
        if self.attempts.contains_key(&container.workload) {
            self.ready.push_back(container);
        }
    }

    /// There was an answer: nothing more to ask.
    pub fn succeeded(&mut self, workload: WorkloadIx) {
        self.attempts.remove(&workload);
    }

    /// There was none: asks again after one second, then two, four, up to a minute.
    pub fn failed(&mut self, container: ContainerRef, error: &InspectError, now: BootNanos) {
        let Some(attempts) = self.attempts.get_mut(&container.workload) else { return };
        attempts.failures += 1;
        attempts.denials = if *error == InspectError::NotFound { attempts.denials + 1 } else { 0 };
        if attempts.denials >= DENIALS {
            self.attempts.remove(&container.workload);
            return;
        }
        let wait = (SECOND << (attempts.failures - 1).min(6)).min(LONGEST_WAIT);
        self.waiting.insert((now.after(wait), container.workload), container);
    }

    /// The workload is gone.
    pub fn forget(&mut self, workload: WorkloadIx) {
        self.forget_all(&[workload]);
    }

    /// The workloads are gone.
    pub fn forget_all(&mut self, workloads: &[WorkloadIx]) {
        let known = self.attempts.len();
        for workload in workloads {
            self.attempts.remove(workload);
        }
        if self.attempts.len() < known {
            self.waiting.retain(|(_, workload), _| self.attempts.contains_key(workload));
            // While nobody can be asked, nobody else takes them out.
            self.ready.retain(|container| self.attempts.contains_key(&container.workload));
        }
    }

    /// Places taken, of those who are ready, wait, or were asked about.
    #[cfg(test)]
    pub fn capacities(&self) -> [usize; 2] {
        [self.ready.capacity(), self.attempts.capacity()]
    }

    /// Containers without a final answer.
    pub fn pending(&self) -> usize {
        self.attempts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::cgroup_path::Runtime;

    fn container(number: u32) -> ContainerRef {
        ContainerRef { workload: WorkloadIx(number), runtime: Runtime::Docker, id: "id".into(), user: None }
    }

    fn at(seconds: u64) -> BootNanos {
        BootNanos(seconds * SECOND)
    }

    #[test]
    fn a_container_is_asked_about_once() {
        let mut inspections = Inspections::default();
        inspections.push(container(1));
        inspections.push(container(1));
        assert_eq!(inspections.pop(at(0)), Some(container(1)));
        assert_eq!(inspections.pop(at(0)), None);
        inspections.push(container(1));
        assert_eq!(inspections.pop(at(0)), None, "it is on its way");
        inspections.succeeded(container(1).workload);
        assert_eq!(inspections.pending(), 0);
        inspections.push(container(1));
        assert_eq!(inspections.pop(at(0)), Some(container(1)), "a restart asks anew");
    }

    #[test]
    fn failures_back_off_to_a_minute() {
        let mut inspections = Inspections::default();
        inspections.push(container(1));
        let mut now = at(0);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            let container = inspections.pop(now).expect("due");
            inspections.failed(container, &InspectError::Timeout, now);
            now = now.after(wait * SECOND);
            assert_eq!(inspections.pop(now.before(1)), None, "{wait}");
        }
    }

    #[test]
    fn three_denials_are_final() {
        let mut inspections = Inspections::default();
        inspections.push(container(1));
        for round in 0..3 {
            let container = inspections.pop(at(round * 100)).expect("due");
            inspections.failed(container, &InspectError::NotFound, at(round * 100));
        }
        assert_eq!((inspections.pop(at(1000)), inspections.pending()), (None, 0));
    }

    #[test]
    fn a_failure_between_denials_begins_anew() {
        let mut inspections = Inspections::default();
        inspections.push(container(1));
        let answers =
            [InspectError::NotFound, InspectError::NotFound, InspectError::Timeout, InspectError::NotFound];
        for (round, answer) in answers.iter().enumerate() {
            let container = inspections.pop(at(round as u64 * 100)).expect("due");
            inspections.failed(container, answer, at(round as u64 * 100));
        }
        assert_eq!(inspections.pending(), 1);
    }

    #[test]
    fn what_is_forgotten_is_never_asked() {
        let mut inspections = Inspections::default();
        inspections.push(container(1));
        inspections.push(container(2));
        inspections.forget(container(1).workload);
        assert_eq!(inspections.pop(at(0)), Some(container(2)));
        inspections.forget(container(2).workload);
        inspections.failed(container(2), &InspectError::Timeout, at(0));
        inspections.put_back(container(2));
        assert_eq!(inspections.pop(at(100)), None);
    }
}
