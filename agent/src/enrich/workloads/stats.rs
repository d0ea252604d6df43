//! What the table of workloads tells of itself.

use crate::enrich::cgroup_tree::TreeStats;

/// What the table holds, did and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Containers known.
    pub containers: usize,
    /// Services known.
    pub services: usize,
    /// Host executables known.
    pub executables: usize,
    /// Origins that went to the overflow workload.
    pub overflowed: u64,
    /// Workloads retired early to make room.
    pub evicted: u64,
    /// Processes and threads beyond what the membership can hold.
    pub processes_overflowed: u64,
    /// Processes whose executable could not be told, which are named by their `comm`.
    pub unknown_executables: u64,
    /// Containers a runtime is still to be asked about.
    pub inspections_pending: usize,
    /// Looks at processes that did not fit in the queue, or that a process held up.
    pub hints_lost: (u64, u64),
    /// Volumes of containers beyond what is looked at.
    pub volumes_refused: VolumesRefused,
    /// File systems of containers that did not tell their size in time.
    pub volumes_hung: u64,
    /// Services systemd is still to be asked about.
    pub units_pending: usize,
    /// Answers of systemd.
    pub units_answered: u64,
    /// Questions to systemd without an answer, those for units that it does not know included.
    pub units_failed: u64,
    /// The tree of cgroups.
    pub tree: TreeStats,
}

/// Volumes that are left out by the bounds on their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumesRefused {
    /// At every look at a container's mounts, those beyond what is taken of one container, and one for all that stand
    /// beyond what is read.
    pub container: u64,
    /// At every snapshot, those whose size is not asked because there are too many on the node.
    pub node: u64,
    is_told: bool,
}

impl VolumesRefused {
    /// Says it once.
    pub(super) fn tell(&mut self) {
        if !self.is_told && self.container + self.node > 0 {
            self.is_told = true;
            tracing::warn!("some containers have more volumes than are looked at; the rest is only counted");
        }
    }
}
