//! Processes: programs `task_iter`, `task_exit` and `oom_victim`.

use std::collections::HashMap;

use sonde_abi::process::{
    Exited, FLAG_EXITING, FLAG_KERNEL, KIND_EXITED, KIND_OOM_VICTIM, OwnerKey, TaskRecord, UNMEASURED, pass,
};
use sonde_abi::{DecodeError, record};

use crate::model::{
    CgroupId, Departed, HostPid, Origin, ShortLived, Task, Thread, ThreadExit, UptimeNanos, Waited,
};

/// Something that happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A thread has ended.
    Exited(ThreadExit),
    /// The OOM killer has chosen the process.
    OomVictim(Origin),
}

/// Decodes an event.
///
/// # Errors
///
/// As [`super::decode`].
pub fn decode(bytes: &[u8]) -> Result<ProcessEvent, DecodeError> {
    let record: TaskRecord = record::decode(bytes)?;
    match record.header.kind {
        KIND_EXITED => Ok(ProcessEvent::Exited(ThreadExit {
            owner: Departed { origin: origin(&record), is_kernel: record.flags & FLAG_KERNEL != 0 },
            tid: record.tid,
            waited: waited(&record),
        })),
        KIND_OOM_VICTIM => Ok(ProcessEvent::OomVictim(origin(&record))),
        _ => Err(DecodeError::Kind),
    }
}

/// Whose something is that the kernel half has added up.
pub fn owner(key: &OwnerKey) -> Departed {
    Departed {
        origin: Origin {
            pid: HostPid(key.tgid),
            v2: CgroupId(key.cgroup_v2),
            v1: CgroupId(key.cgroup_v1),
            comm: record::text(&key.comm).into(),
        },
        is_kernel: key.flags & FLAG_KERNEL != 0,
    }
}

/// Threads that the kernel half has added up.
pub fn short_lived(key: &OwnerKey, exited: &Exited) -> ShortLived {
    ShortLived {
        owner: owner(key),
        waited: Waited { cpu_ns: exited.run_delay_ns, disk_ns: exited.disk_delay_ns },
    }
}

/// Gathers the rows of one walk, a thread each, into processes.
#[derive(Debug, Default)]
pub struct Gather {
    tasks: HashMap<u32, Task>,
    mark: Option<u64>,
}

impl Gather {
    /// With the mark of the pass that the kernel half was given, when it tells of threads that end: those that are
    /// younger than the pass are left to the next one, and those that have begun to end to their events.
    pub fn new(mark: Option<u64>) -> Self {
        Self { tasks: HashMap::new(), mark }
    }

    /// Takes one row.
    ///
    /// # Errors
    ///
    /// As [`super::decode`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let record: TaskRecord = record::decode(bytes)?;
        let started = UptimeNanos(record.started_ns);
        let task = self.tasks.entry(record.tgid).or_insert_with(|| Task::new(origin(&record), started));
        if record.tid == record.tgid {
            task.origin = origin(&record);
            task.started = started;
        }
        task.thread_count += 1;
        task.counts_disk_delay |= record.disk_delay_ns != UNMEASURED;
        let is_too_young = self.mark.is_some_and(|mark| !pass::may_have_listed(mark, record.started_ns));
        let is_measured = record.run_delay_ns != UNMEASURED || record.disk_delay_ns != UNMEASURED;
        if is_measured && !is_too_young {
            let is_exiting = self.mark.is_some() && record.flags & FLAG_EXITING != 0;
            task.add_thread(Thread { tid: record.tid, waited: waited(&record), is_exiting });
        }
        Ok(())
    }

    /// The processes.
    pub fn finish(self) -> Vec<Task> {
        self.tasks.into_values().collect()
    }
}

fn waited(record: &TaskRecord) -> Waited {
    let measured = |value: u64| if value == UNMEASURED { 0 } else { value };
    Waited { cpu_ns: measured(record.run_delay_ns), disk_ns: measured(record.disk_delay_ns) }
}

fn origin(record: &TaskRecord) -> Origin {
    Origin {
        pid: HostPid(record.tgid),
        v2: CgroupId(record.cgroup_v2),
        v1: CgroupId(record.cgroup_v1),
        comm: record::text(&record.comm).into(),
    }
}

#[cfg(test)]
#[path = "process/tests.rs"]
mod tests;
