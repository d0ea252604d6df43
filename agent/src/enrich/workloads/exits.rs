//! Threads that end between two passes, and victims of the OOM killer.
//!
//! No time is counted twice. A thread that a pass has listed tells its end by itself, and what was counted of it is
//! taken off; one that no pass has listed is in the kernel half's sums, whole. The kernel half decides by the thread's
//! start and the begin of the last pass, and a pass leaves out what started after its begin.

use std::collections::{HashMap, VecDeque};

use super::record::Key;
use super::{COMM_LEN, Merged, Workloads};
use crate::model::{BootNanos, Departed, HostPid, Origin, ShortLived, ThreadExit, Waited, WorkloadIx};

/// Victims that are remembered, and for how long: the kernel may choose a process again before it has ended.
const VICTIMS: usize = 256;
const VICTIM_ENDS_WITHIN: u64 = 60_000_000_000;

/// What happened to processes and is not the table's to show.
#[derive(Debug, Default)]
pub(super) struct Happened {
    disk_waits: HashMap<WorkloadIx, u64>,
    victims: VecDeque<(HostPid, BootNanos)>,
}

impl Happened {
    /// Moves what a workload waited to the one that it turned out to be: nobody forgets rows of an index that is no more.
    pub(super) fn merge(&mut self, merged: Merged) {
        if let Some(ns) = self.disk_waits.remove(&merged.from) {
            *self.disk_waits.entry(merged.into).or_default() += ns;
        }
    }
}

impl Workloads {
    /// A pass over all tasks begins. Every end that was told before is already taken in.
    pub fn begin_pass(&mut self) {
        self.membership.begin_pass();
    }

    /// A thread that the last pass may have listed has ended.
    pub fn thread_exited(&mut self, exit: &ThreadExit, now: BootNanos) {
        let counted = self.membership.end(exit.owner.origin.pid, exit.tid);
        if self.membership.has_baseline() {
            let ix = self.resolve_departed(&exit.owner, now);
            self.count_waited(ix, exit.waited.since(counted));
        }
    }

    /// Threads that no pass has listed have ended.
    pub fn threads_exited(&mut self, exited: &ShortLived, now: BootNanos) {
        let ix = self.resolve_departed(&exited.owner, now);
        self.count_waited(ix, exited.waited);
    }

    /// The workload of a process that the OOM killer has chosen; `None` when it had been chosen before.
    pub fn oom_victim(&mut self, origin: &Origin, now: BootNanos) -> Option<WorkloadIx> {
        let victims = &mut self.happened.victims;
        victims.retain(|(_, at)| now.since(*at) < VICTIM_ENDS_WITHIN);
        if victims.iter().any(|(pid, _)| *pid == origin.pid) {
            return None;
        }
        if victims.len() == VICTIMS {
            victims.pop_front();
        }
        victims.push_back((origin.pid, now));
        Some(self.resolve(origin, now))
    }

    /// Whether this kernel counts how long threads wait for block devices.
    pub fn counts_disk_delay(&self) -> bool {
        self.membership.counts_disk_delay()
    }

    /// What workloads waited for block devices since the last call, nanoseconds.
    pub fn take_disk_waits(&mut self) -> HashMap<WorkloadIx, u64> {
        std::mem::take(&mut self.happened.disk_waits)
    }

    pub(super) fn count_waited(&mut self, ix: WorkloadIx, waited: Waited) {
        if let Some(record) = self.table.get_mut(ix) {
            record.touch(self.now);
            record.run_delay_ns += waited.cpu_ns;
        }
        if waited.disk_ns > 0 {
            *self.happened.disk_waits.entry(ix).or_default() += waited.disk_ns;
        }
    }

    /// The workload of a process that may be gone. One that is too young to be known is told by its name; what the kernel
    /// does for nobody in particular is its own.
    pub fn resolve_departed(&mut self, departed: &Departed, now: BootNanos) -> WorkloadIx {
        let Departed { origin, is_kernel } = departed;
        let anonymous = Origin { pid: HostPid(0), ..origin.clone() };
        if let Some(ix) = self.resolve_owner(if *is_kernel { &anonymous } else { origin }, now) {
            return ix;
        }
        if *is_kernel {
            return self.find_or_make(Key::Executable("kernel".into()));
        }
        let comm = &origin.comm;
        let whole = (comm.len() >= COMM_LEN).then(|| self.table.executable_with(comm)).flatten();
        let name: Box<str> = whole.unwrap_or(comm).into();
        self.find_or_make(Key::Executable(if name.is_empty() { "unknown".into() } else { name }))
    }
}
