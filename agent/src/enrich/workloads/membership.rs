//! Which processes are in which workload, from full passes over all tasks: restarts and time spent waiting for a CPU.

use std::collections::HashMap;

use super::{MAX_PROCESSES, Workloads};
use crate::enrich::metadata::ContainerRef;
use crate::model::{BootNanos, HostPid, Task, Thread, UptimeNanos, WorkloadIx};

/// What is remembered of the processes between two passes.
#[derive(Debug, Default)]
pub(super) struct Membership {
    processes: HashMap<HostPid, Process>,
    passes: u64,
    overflowed: u64,
    /// Whether any process ever waited. A kernel that does not count it shows zero for all.
    counts_run_delay: bool,
}

#[derive(Debug)]
struct Process {
    started: UptimeNanos,
    /// In order of their ids.
    threads: Box<[Thread]>,
}

impl Process {
    fn of(task: &Task) -> Self {
        let mut threads = task.threads.clone();
        threads.sort_unstable_by_key(|thread| thread.tid);
        Self { started: task.started, threads: threads.into() }
    }

    /// What a thread had waited when it was last seen; 0 for a new one, also when it has the id of one that ended.
    fn waited_before(&self, thread: &Thread) -> u64 {
        let known = self.threads.binary_search_by_key(&thread.tid, |known| known.tid);
        let before = known.map_or(0, |index| self.threads[index].run_delay_ns);
        if before <= thread.run_delay_ns { before } else { 0 }
    }
}

/// The oldest process of a workload in one pass.
#[derive(Clone, Copy, Debug)]
struct Oldest {
    started: UptimeNanos,
    pid: HostPid,
}

impl Membership {
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    pub(super) fn counts_run_delay(&self) -> bool {
        self.counts_run_delay
    }

    /// How much longer the threads of a process have waited than the pass before knew, each for itself: of a thread that
    /// ended only what it waited since that pass is lost. What was waited before the first pass is a baseline, so that a
    /// restart of the agent does not show as waiting.
    fn waited(&self, task: &Task) -> u64 {
        if self.passes == 0 {
            return 0;
        }
        let known = self.processes.get(&task.origin.pid).filter(|known| known.started == task.started);
        let before = |thread: &Thread| known.map_or(0, |known| known.waited_before(thread));
        task.threads.iter().map(|thread| thread.run_delay_ns - before(thread)).sum()
    }
}

impl Workloads {
    /// Takes in a full pass over all processes. `suspended` is the time that the machine was suspended since its boot,
    /// nanoseconds.
    ///
    /// A container or service has restarted when its oldest process is younger than the oldest one of the last pass
    /// that found any: the first process of a container outlives all others. Several restarts between two passes count
    /// as one. Host executables have no restarts.
    pub fn observe_tasks(&mut self, tasks: &[Task], now: BootNanos, suspended: u64) {
        self.now = self.now.max(now);
        let mut oldest: HashMap<WorkloadIx, Oldest> = HashMap::new();
        let mut processes = HashMap::with_capacity(tasks.len().min(MAX_PROCESSES));
        for task in tasks {
            let ix = self.resolve(&task.origin, now);
            let process = Oldest { started: task.started, pid: task.origin.pid };
            let known = oldest.entry(ix).or_insert(process);
            if process.started < known.started {
                *known = process;
            }
            if processes.len() >= MAX_PROCESSES {
                self.membership.overflowed += 1;
                continue;
            }
            self.membership.overflowed += task.threads_left_out;
            self.membership.counts_run_delay |= task.threads.iter().any(|thread| thread.run_delay_ns > 0);
            let waited = self.membership.waited(task);
            if let Some(record) = self.table.get_mut(ix) {
                record.run_delay_ns += waited;
            }
            processes.insert(task.origin.pid, Process::of(task));
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
        let Some(oldest) = oldest else { return };
        record.started_at = Some(oldest.started.without_suspension(suspended));
        let before = record.started.replace(oldest.started);
        if record.key.restarts() && before.is_some_and(|before| oldest.started > before) {
            record.restarts += 1;
            // The ports that lead to a container may be others now.
            if let Some((runtime, id)) = record.key.runtime_to_ask() {
                self.inspections.push(ContainerRef { workload: ix, runtime, id });
            }
        }
    }
}
