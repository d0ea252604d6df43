//! Starts that cgroups tell: a runtime makes a container's cgroup anew at each start, and systemd that of a service.
//!
//! A start is told by up to three: the v1 and the v2 cgroup made for it, and a pass that finds a younger first process.
//! It counts once, by whoever tells it first. Passes miss what starts and ends between two of them; cgroups miss a start
//! inside one that was kept, as systemd keeps what is delegated.

use super::Workloads;
use super::record::Key;
use crate::enrich::cgroup_tree::{Born, Hierarchy, Own};
use crate::model::CgroupId;

/// The starts of one container or service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Starts {
    /// By hierarchy. The higher number counts: each start makes a cgroup in both or always in the same one.
    told: [Own; 2],
    /// A cgroup told a start whose process no pass has seen yet.
    is_unseen: bool,
}

impl Starts {
    /// Takes over what cgroups told before there was a record. Returns the restarts among it: the first start is none,
    /// nor is what was there when the agent came.
    pub(super) fn begin(&mut self, own: [Own; 2]) -> u64 {
        if self.total() > 0 {
            return 0;
        }
        self.told = own;
        self.total().saturating_sub(1)
    }

    /// A cgroup was made for it. Returns whether that is a restart which nobody has told yet.
    pub(super) fn born(&mut self, hierarchy: Hierarchy, id: CgroupId) -> bool {
        let before = self.total();
        let told = &mut self.told[hierarchy.index()];
        if told.last == id {
            return false;
        }
        *told = Own { births: told.births + 1, last: id };
        let is_restart = before > 0 && self.total() > before;
        self.is_unseen |= is_restart;
        is_restart
    }

    /// A pass has seen another first process than before. Returns whether its start was told by a cgroup.
    pub(super) fn seen(&mut self) -> bool {
        std::mem::take(&mut self.is_unseen)
    }

    /// The next younger process is another container's.
    pub(super) fn forget_unseen(&mut self) {
        self.is_unseen = false;
    }

    /// The latest cgroups, by hierarchy.
    pub(super) fn ids(&self) -> [CgroupId; 2] {
        self.told.map(|told| told.last)
    }

    fn total(&self) -> u64 {
        self.told[0].births.max(self.told[1].births)
    }
}

impl Workloads {
    /// Counts the starts that the tree has learnt of. It is called after each change of the tree, so that what was learnt
    /// before a record was made is not counted again after it.
    pub(super) fn count_starts(&mut self) {
        for Born { hierarchy, id, cgroup } in self.tree.take_born() {
            let Some(key) = Key::of(&cgroup).filter(Key::restarts) else { continue };
            let Some(record) = self.table.find(&key).and_then(|ix| self.table.get_mut(ix)) else { continue };
            let known = match hierarchy {
                Hierarchy::V1 => &record.paths.v1,
                Hierarchy::V2 => &record.paths.v2,
            };
            // What looks like the container somewhere else is not its own, nor is that of another one of its name.
            let is_own = record.key == key && known.as_ref().is_none_or(|known| *known == cgroup.own_path);
            if is_own && record.starts.born(hierarchy, id) {
                record.restarts += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What tells of one start: the v1 cgroup, the v2 cgroup, and a pass, each or not; and which cgroup is told first.
    fn start() -> impl Strategy<Value = ([bool; 2], bool, bool)> {
        (prop::sample::select(vec![[true, true], [true, false]]), any::<bool>(), any::<bool>())
    }

    proptest! {
        #[test]
        fn each_start_but_the_first_is_counted_once(starts in prop::collection::vec(start(), 1..40)) {
            let (mut known, mut restarts) = (Starts::default(), 0);
            for (number, (is_told, v2_first, is_seen)) in starts.into_iter().enumerate() {
                let id = CgroupId(number as u64 + 1);
                let mut told = vec![Hierarchy::V1, Hierarchy::V2];
                told.retain(|hierarchy| is_told[hierarchy.index()]);
                if v2_first {
                    told.reverse();
                }
                for hierarchy in told {
                    restarts += u64::from(known.born(hierarchy, id));
                    prop_assert!(!known.born(hierarchy, id), "the same cgroup is told again");
                    prop_assert!(restarts <= number as u64);
                }
                prop_assert_eq!(restarts, number as u64);
                if is_seen {
                    restarts += u64::from(number > 0 && !known.seen());
                    prop_assert!(!known.seen());
                }
                prop_assert_eq!(restarts, number as u64);
            }
        }
    }
}
