use sonde_abi::process::KIND_TASK;
use sonde_abi::record::Header;

use super::*;

/// One thread, as the kernel half writes it.
#[derive(Clone, Copy)]
struct Row {
    kind: u16,
    tgid: u32,
    tid: u32,
    started_ns: u64,
    run_delay_ns: u64,
    disk_delay_ns: u64,
    flags: u32,
}

impl Row {
    fn new(tgid: u32, tid: u32, started_ns: u64, run_delay_ns: u64) -> Self {
        Self { kind: KIND_TASK, tgid, tid, started_ns, run_delay_ns, disk_delay_ns: UNMEASURED, flags: 0 }
    }

    /// In the machine's own byte order.
    fn bytes(self) -> Vec<u8> {
        let size = Header::of::<TaskRecord>(self.kind).size;
        let mut bytes = [self.kind.to_ne_bytes(), size.to_ne_bytes()].concat();
        bytes.resize(size_of::<Header>(), 0);
        for field in [2, 1, self.started_ns, self.run_delay_ns, self.disk_delay_ns] {
            bytes.extend(u64::to_ne_bytes(field));
        }
        bytes.extend(b"name\0\0\0\0\0\0\0\0\0\0\0\0");
        for field in [self.tgid, self.tid, self.flags, 0] {
            bytes.extend(u32::to_ne_bytes(field));
        }
        bytes
    }
}

fn gather(mark: Option<u64>, rows: &[Row]) -> Vec<Task> {
    let mut gather = Gather::new(mark);
    rows.iter().for_each(|row| gather.push(&row.bytes()).unwrap());
    let mut tasks = gather.finish();
    tasks.sort_by_key(|task| task.origin.pid);
    tasks
}

#[test]
fn threads_become_processes_and_the_unmeasured_have_none() {
    let rows = [Row::new(7, 8, 20, 300), Row::new(7, 7, 10, 200), Row::new(9, 9, 30, UNMEASURED)];
    let tasks = gather(None, &rows);
    assert_eq!((tasks[0].origin.pid, tasks[0].started), (HostPid(7), UptimeNanos(10)));
    assert_eq!(tasks[0].threads, [Thread::new(8, 300), Thread::new(7, 200)]);
    assert_eq!((tasks[1].started, &*tasks[1].threads), (UptimeNanos(30), &[][..]));
    assert!(!tasks[0].counts_disk_delay);
}

#[test]
fn a_thread_that_waits_for_disks_alone_is_measured() {
    let tasks = gather(None, &[Row { disk_delay_ns: 5, ..Row::new(7, 7, 10, UNMEASURED) }]);
    assert!(tasks[0].counts_disk_delay);
    assert_eq!(tasks[0].threads[0].waited, Waited { cpu_ns: 0, disk_ns: 5 });
}

#[test]
fn threads_beyond_the_cap_are_counted() {
    let rows: Vec<Row> =
        (0..Task::MAX_THREADS as u32 + 3).map(|index| Row::new(7, 7 + index, 1, 1)).collect();
    let tasks = gather(None, &rows);
    assert_eq!((tasks[0].threads.len(), tasks[0].threads_left_out), (Task::MAX_THREADS, 3));
}

#[test]
fn with_events_the_youngest_threads_wait_for_the_next_pass() {
    let ending = Row { flags: FLAG_EXITING, ..Row::new(7, 8, 10, 3) };
    let rows = [Row::new(7, 7, 99, 1), ending, Row::new(7, 9, 100, 4)];
    for second_map in [false, true] {
        let tasks = gather(Some(pass::mark(100, second_map)), &rows);
        assert_eq!(tasks[0].threads, [Thread::new(7, 1), Thread { is_exiting: true, ..Thread::new(8, 3) }]);
    }
    let tasks = gather(None, &rows);
    assert_eq!(tasks[0].threads, [Thread::new(7, 1), Thread::new(8, 3), Thread::new(9, 4)]);
}

#[test]
fn ends_and_victims_are_told_apart() {
    let exited = Row { kind: KIND_EXITED, disk_delay_ns: 6, flags: FLAG_KERNEL, ..Row::new(7, 8, 1, 5) };
    let origin = Origin { pid: HostPid(7), v2: CgroupId(2), v1: CgroupId(1), comm: "name".into() };
    let expected = ThreadExit {
        owner: Departed { origin: origin.clone(), is_kernel: true },
        tid: 8,
        waited: Waited { cpu_ns: 5, disk_ns: 6 },
    };
    assert_eq!(decode(&exited.bytes()), Ok(ProcessEvent::Exited(expected)));
    let victim = Row { kind: KIND_OOM_VICTIM, ..exited };
    assert_eq!(decode(&victim.bytes()), Ok(ProcessEvent::OomVictim(origin)));
    // A row of the iterator does not come by the ring.
    assert_eq!(decode(&Row::new(1, 1, 1, 1).bytes()), Err(DecodeError::Kind));
}
