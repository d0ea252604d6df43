//! Whose a socket is that several processes hold: systemd opens sockets for services, and both hold them from then on.
//!
//! A pass meets the holders in no order that means anything. Each is a claim, and at the end of the pass the best one
//! tells the owner: what a socket dropped since the pass before is the owner's, whoever came first.

use super::{HostPid, WorkloadIx};

/// What one process that holds a socket tells of its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Whose the process is; `None` when that could not be told.
    pub workload: Option<WorkloadIx>,
    /// Whether that is a container or a service. Those open sockets for themselves, while the executables of the host,
    /// systemd among them, may open them for others.
    pub is_managed: bool,
    /// The process.
    pub pid: HostPid,
}

impl Claim {
    /// The better one of two: that of a container or service, else that of the process with the higher number, which is
    /// most likely the younger one: whoever was given a socket came after who opened it.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// In a total order: the same claims have the same best one, however they are met.
    fn rank(self) -> (bool, bool, HostPid, Option<WorkloadIx>) {
        (self.workload.is_some(), self.is_managed, self.pid, self.workload)
    }
}

/// A claim of which nothing else is known.
impl From<Option<WorkloadIx>> for Claim {
    fn from(workload: Option<WorkloadIx>) -> Self {
        Self { workload, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(workload: u32, is_managed: bool, pid: u32) -> Claim {
        Claim { workload: Some(WorkloadIx(workload)), is_managed, pid: HostPid(pid) }
    }

    #[test]
    fn services_come_before_executables_and_later_processes_before_earlier_ones() {
        let ranked = [
            Claim { workload: None, is_managed: true, pid: HostPid(9) },
            claim(1, false, 1),
            claim(2, false, 800),
            claim(3, true, 7),
            claim(4, true, 70),
        ];
        for pair in ranked.windows(2) {
            assert_eq!((pair[0].or_better(pair[1]), pair[1].or_better(pair[0])), (pair[1], pair[1]));
        }
    }

    proptest! {
        #[test]
        fn the_best_claim_does_not_depend_on_the_order(
            claims in prop::collection::vec((0..4_u32, any::<bool>(), 0..5_u32), 1..8),
            turn in 0..8_usize,
        ) {
            let claims: Vec<_> = claims.into_iter().map(|(of, managed, pid)| claim(of, managed, pid)).collect();
            let best = |claims: &[Claim]| claims.iter().copied().reduce(Claim::or_better);
            let mut turned = claims.clone();
            turned.rotate_left(turn % claims.len());
            prop_assert_eq!(best(&claims), best(&turned));
            turned.reverse();
            prop_assert_eq!(best(&claims), best(&turned));
        }
    }
}
