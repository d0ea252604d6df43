//! Which processes are in which workload, from full passes over all tasks: restarts, and time spent waiting.
//!
//! What a thread waited is counted once: each pass counts what came since the pass before, and the end of a thread what
//! came since the last pass. See [`super::exits`].

use std::collections::{HashMap, HashSet};

use super::{MAX_PROCESSES, Workloads};
use crate::model::{BootNanos, HostPid, Task, Thread, UptimeNanos, Waited, WorkloadIx};

/// What is remembered of the processes between two passes.
#[derive(Debug, Default)]
pub(super) struct Membership {
    processes: HashMap<HostPid, Process>,
    passes: u64,
    overflowed: u64,
    /// Whether any process ever waited. A kernel that does not count it shows zero for all.
    counts_run_delay: bool,
    counts_disk_delay: bool,
    /// Threads that ended since a pass was begun: it may list them nevertheless.
    ended: HashSet<(HostPid, u32)>,
}

#[derive(Debug, Default)]
struct Process {
    started: UptimeNanos,
    /// In order of their ids.
    threads: Vec<Thread>,
}

impl Process {
    /// What a thread had waited when it was last seen; nothing for a new one, also when it has the id of one that ended.
    fn waited_before(&self, thread: &Thread) -> Option<Waited> {
        let index = self.threads.binary_search_by_key(&thread.tid, |known| known.tid).ok()?;
        let before = self.threads[index].waited;
        (before.cpu_ns <= thread.waited.cpu_ns).then_some(before)
    }
}

/// The oldest process of a workload in one pass.
#[derive(Clone, Copy, Debug)]
struct Oldest {
    started: UptimeNanos,
    pid: HostPid,
    /// Of all processes of the workload.
    threads: u64,
}

impl Membership {
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    pub(super) fn counts_run_delay(&self) -> bool {
        self.counts_run_delay
    }

    pub(super) fn counts_disk_delay(&self) -> bool {
        self.counts_disk_delay
    }

    /// A pass begins: threads whose end is told from now on may be in it.
    pub(super) fn begin_pass(&mut self) {
        self.ended.clear();
    }

    /// Whether there is something to compare with: what was waited before the first pass is a baseline, so that a
    /// restart of the agent does not show as waiting.
    pub(super) fn has_baseline(&self) -> bool {
        self.passes > 0
    }

    /// Forgets a thread that ended; returns what was counted of it.
    pub(super) fn end(&mut self, pid: HostPid, tid: u32) -> Waited {
        self.ended.insert((pid, tid));
        let Some(process) = self.processes.get_mut(&pid) else { return Waited::default() };
        let found = process.threads.binary_search_by_key(&tid, |known| known.tid);
        found.map_or(Waited::default(), |index| process.threads.remove(index).waited)
    }

    /// What a process waited since the pass before, each of its threads for itself, and what is to be remembered of it.
    fn compare(&self, task: &Task) -> (Waited, Process) {
        let pid = task.origin.pid;
        let known = self.processes.get(&pid).filter(|known| known.started == task.started);
        let mut waited = Waited::default();
        let mut threads = Vec::with_capacity(task.threads.len());
        for thread in task.threads.iter().filter(|thread| !self.ended.contains(&(pid, thread.tid))) {
            let before = known.and_then(|known| known.waited_before(thread));
            if !thread.is_exiting {
                waited.add(thread.waited.since(before.unwrap_or_default()));
                threads.push(*thread);
            } else if let Some(waited) = before {
                // Its end tells all; until then what was counted of it must be known.
                threads.push(Thread { waited, ..*thread });
            }
        }
        threads.sort_unstable_by_key(|thread| thread.tid);
        let waited = if self.has_baseline() { waited } else { Waited::default() };
        (waited, Process { started: task.started, threads })
    }
}

impl Workloads {
    /// Takes in a full pass over all processes. `suspended` is the time that the machine was suspended since its boot,
    /// nanoseconds.
    ///
    /// A container or service has restarted when its oldest process is younger than the oldest one of the last pass
    /// that found any: the first process of a container outlives all others. Several restarts between two passes are
    /// told by the cgroups that were made for them, see [`super::starts`]. Host executables have no restarts.
    pub fn observe_tasks(&mut self, tasks: &[Task], now: BootNanos, suspended: u64) {
        self.now = self.now.max(now);
        let mut oldest: HashMap<WorkloadIx, Oldest> = HashMap::new();
        let mut processes = HashMap::with_capacity(tasks.len().min(MAX_PROCESSES));
        for task in tasks {
            let ix = self.resolve(&task.origin, now);
            let process = Oldest { started: task.started, pid: task.origin.pid, threads: 0 };
            let known = oldest.entry(ix).or_insert(process);
            if process.started < known.started {
                *known = Oldest { threads: known.threads, ..process };
            }
            known.threads += task.thread_count;
            if processes.len() >= MAX_PROCESSES {
                self.membership.overflowed += 1;
                continue;
            }
            self.membership.overflowed += task.threads_left_out;
            self.membership.counts_run_delay |= task.threads.iter().any(|thread| thread.waited.cpu_ns > 0);
            self.membership.counts_disk_delay |= task.counts_disk_delay;
            let (waited, process) = self.membership.compare(task);
            self.count_waited(ix, waited);
            processes.insert(task.origin.pid, process);
        }
        self.membership.processes = processes;
        self.membership.passes += 1;
        self.executables.retain(|pid, _| self.membership.processes.contains_key(pid));
        for ix in self.table.indices() {
            let oldest = oldest.get(&ix).copied();
            self.observe_oldest(ix, oldest, suspended);
            if let Some(oldest) = oldest {
                self.ask_process(ix, oldest.pid);
            }
        }
    }

    fn observe_oldest(&mut self, ix: WorkloadIx, oldest: Option<Oldest>, suspended: u64) {
        let Some(record) = self.table.get_mut(ix) else { return };
        record.process = oldest.map(|oldest| oldest.pid);
        record.threads = oldest.map(|oldest| oldest.threads).filter(|threads| *threads > 0);
        let Some(oldest) = oldest else { return };
        record.has_threads |= oldest.threads > 1;
        record.started_at = Some(oldest.started.without_suspension(suspended));
        let before = record.started.replace(oldest.started);
        if before.is_none_or(|before| oldest.started > before) {
            let is_counted = record.starts.seen();
            if before.is_none() || !record.key.restarts() {
                return;
            }
            record.restarts += u64::from(!is_counted);
            // The ports that lead to a container may be others now.
            if let Some(question) = record.key.question(ix) {
                self.inspections.push(question);
            }
            self.want_unit_again(ix);
        }
    }
}
