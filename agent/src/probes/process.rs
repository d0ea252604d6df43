//! Processes: program `task_iter`.

use std::collections::HashMap;

use sonde_abi::{DecodeError, process::TaskRecord, record};

use crate::model::{BootNanos, CgroupId, HostPid, Origin, Task};

/// Gathers the rows of one walk, a thread each, into processes.
#[derive(Debug, Default)]
pub struct Gather {
    tasks: HashMap<u32, Task>,
}

impl Gather {
    /// Takes one row.
    ///
    /// # Errors
    ///
    /// As [`super::decode`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let record: TaskRecord = record::decode(bytes)?;
        let task = self.tasks.entry(record.tgid).or_insert_with(|| Task {
            origin: origin(&record),
            started: BootNanos(record.started_ns),
            run_delay_ns: 0,
        });
        if record.tid == record.tgid {
            task.origin = origin(&record);
            task.started = BootNanos(record.started_ns);
        }
        if record.run_delay_ns != u64::MAX {
            task.run_delay_ns = task.run_delay_ns.saturating_add(record.run_delay_ns);
        }
        Ok(())
    }

    /// The processes.
    pub fn finish(self) -> Vec<Task> {
        self.tasks.into_values().collect()
    }
}

fn origin(record: &TaskRecord) -> Origin {
    Origin {
        pid: HostPid(record.tgid),
        v2: CgroupId(record.cgroup_v2),
        v1: CgroupId(record.cgroup_v1),
        comm: record::text(&record.comm).into(),
    }
}
