//! Queues of the kinds of runtimes, each by itself.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::enrich::Settings;
use crate::model::{BootNanos, CgroupId, HostPid, Origin};

/// An id whose beginning, which is the name of who has no other, is nobody else's.
fn id(number: usize) -> String {
    format!("{number:012x}{:052x}", 0)
}

/// Workloads of the cgroups at these paths, in this order.
fn workloads(root: &Path, paths: impl Iterator<Item = String>) -> Workloads {
    let cgroups: Vec<_> = paths
        .map(|path| {
            let path = root.join("cgroup").join(path);
            fs::create_dir_all(&path).unwrap();
            CgroupId(fs::metadata(path).unwrap().ino())
        })
        .collect();
    fs::create_dir_all(root.join("proc/1")).unwrap();
    fs::write(root.join("proc/1/mountinfo"), "1 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n").unwrap();
    let mut workloads = Workloads::new(Settings::new(root.join("proc"), root.join("cgroup")));
    for v2 in cgroups {
        let origin = Origin { pid: HostPid(7), v1: CgroupId(0), v2, comm: "x".into() };
        workloads.resolve(&origin, BootNanos(10));
    }
    workloads
}

#[test]
fn a_full_queue_holds_up_no_other_kind_and_is_no_failure() {
    let machine = tempfile::tempdir().unwrap();
    let docker = (0..QUEUE + 3).map(|number| format!("docker/{}", id(number)));
    let crio = format!("machine.slice/crio-{:064x}.scope", 0xabc);
    let mut workloads = workloads(machine.path(), docker.chain([crio]));
    // Nobody takes the questions.
    let (_answered, answers) = mpsc::channel(1);
    let mut asked = Vec::new();
    let questions = Kind::ALL.map(|_| {
        let (questions, receiver) = mpsc::channel(QUEUE);
        asked.push(receiver);
        questions
    });
    let sockets = sockets(machine.path());
    let runtimes = Arc::new(Runtimes { sockets, times: CURIOUS, table: Mutex::default() });
    let inspector = Inspector { questions, answers, counts: Counts::default(), runtimes };

    inspector.ask_all(&mut workloads);
    assert_eq!((asked[Kind::Docker as usize].len(), asked[Kind::Cri as usize].len()), (QUEUE, 1));
    for _ in 0..5 {
        inspector.ask_all(&mut workloads);
    }
    assert!(inspector.counts.iter().all(|(_, answered)| answered.failed == 0));
    assert_eq!(workloads.stats().inspections_pending, QUEUE + 4);
    // As soon as there is room they are asked about, without a pause.
    let docker = &mut asked[Kind::Docker as usize];
    let first: Vec<_> = (0..3).map(|_| docker.try_recv().unwrap().id).collect();
    inspector.ask_all(&mut workloads);
    let rest: Vec<_> = std::iter::from_fn(|| docker.try_recv().ok()).map(|container| container.id).collect();
    let mut all: Vec<String> = first.iter().chain(&rest).map(|id| id.to_string()).collect();
    all.sort();
    assert_eq!(all, (0..QUEUE + 3).map(id).collect::<Vec<_>>());
    assert_eq!(workloads.next_inspection(), None);
}
