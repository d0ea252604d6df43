//! Processes: program `task_iter`.

use std::collections::HashMap;

use sonde_abi::{DecodeError, process::TaskRecord, record};

use crate::model::{CgroupId, HostPid, Origin, Task, Thread, UptimeNanos};

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
        let started = UptimeNanos(record.started_ns);
        let task = self.tasks.entry(record.tgid).or_insert_with(|| Task::new(origin(&record), started));
        if record.tid == record.tgid {
            task.origin = origin(&record);
            task.started = started;
        }
        if record.run_delay_ns != u64::MAX {
            task.add_thread(Thread { tid: record.tid, run_delay_ns: record.run_delay_ns });
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

#[cfg(test)]
mod tests {
    use sonde_abi::process::KIND_TASK;
    use sonde_abi::record::Header;

    use super::*;

    /// A row as the kernel half writes it, in the machine's own byte order.
    fn row(tgid: u32, tid: u32, started_ns: u64, run_delay_ns: u64) -> Vec<u8> {
        let header = Header::of::<TaskRecord>(KIND_TASK);
        let (kind, size) = (header.kind.to_ne_bytes(), header.size.to_ne_bytes());
        let mut bytes = [kind.as_slice(), size.as_slice()].concat();
        bytes.resize(size_of::<Header>(), 0);
        for field in [2, 1, started_ns, run_delay_ns] {
            bytes.extend(u64::to_ne_bytes(field));
        }
        bytes.extend(b"name\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend([tgid.to_ne_bytes(), tid.to_ne_bytes()].concat());
        bytes
    }

    #[test]
    fn threads_become_processes_and_the_unmeasured_have_none() {
        let mut gather = Gather::default();
        for row in [row(7, 8, 20, 300), row(7, 7, 10, 200), row(9, 9, 30, u64::MAX)] {
            gather.push(&row).unwrap();
        }
        let mut tasks = gather.finish();
        tasks.sort_by_key(|task| task.origin.pid);
        let thread = |tid, run_delay_ns| Thread { tid, run_delay_ns };
        assert_eq!((tasks[0].origin.pid, tasks[0].started), (HostPid(7), UptimeNanos(10)));
        assert_eq!(tasks[0].threads, [thread(8, 300), thread(7, 200)]);
        assert_eq!((tasks[1].started, &*tasks[1].threads), (UptimeNanos(30), &[][..]));
    }

    #[test]
    fn threads_beyond_the_cap_are_counted() {
        let mut gather = Gather::default();
        for tid in 0..Task::MAX_THREADS as u32 + 3 {
            gather.push(&row(7, 7 + tid, 1, 1)).unwrap();
        }
        let tasks = gather.finish();
        assert_eq!((tasks[0].threads.len(), tasks[0].threads_left_out), (Task::MAX_THREADS, 3));
    }
}
