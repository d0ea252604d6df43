//! Open files and threads of workloads.

use super::*;
use crate::enrich::OpenFilesPass;
use crate::model::OpenFiles;

fn files(pid: u32, cgroup: CgroupId, files: u64, sockets: u64, limit: u64) -> OpenFiles {
    let limit = Some(limit).filter(|limit| *limit > 0);
    OpenFiles { origin: origin(pid, NO_CGROUP, cgroup), files, sockets, limit }
}

fn shown(workloads: &mut Workloads) -> Vec<String> {
    let lines = series(workloads, at(20)).into_iter();
    let lines = lines.filter(|line| line.contains("_open_") || line.contains("_tasks"));
    lines
        .map(|line| line.replace("container_resources_", "").replace("container_id=/docker/b06f44ca4949", ""))
        .collect()
}

#[test]
fn processes_add_up_and_the_one_nearest_to_its_limit_counts() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    let mut workloads = machine.workloads();
    let threads = |pid, threads| Task { thread_count: threads, ..task(origin(pid, NO_CGROUP, cgroup), 1, 0) };
    workloads.observe_tasks(&[threads(7, 3), threads(8, 2)], at(10), 0);
    assert_eq!(shown(&mut workloads), ["tasks{} 5"], "files are not measured yet");
    let mut pass = OpenFilesPass::default();
    // A thread with a table of its own comes in a row of its own.
    for row in [files(7, cgroup, 10, 4, 100), files(8, cgroup, 30, 1, 40), files(7, cgroup, 2, 1, 100)] {
        pass.push(row);
    }
    workloads.observe_files(pass, at(10));
    let expected = ["open_files{} 42", "open_files_limit_ratio{} 0.75", "open_sockets{} 6", "tasks{} 5"];
    assert_eq!(shown(&mut workloads), expected);
    workloads.observe_files(OpenFilesPass::default(), at(10));
    assert_eq!(
        shown(&mut workloads),
        ["open_files{} 0", "open_sockets{} 0", "tasks{} 5"],
        "it has closed all"
    );
    workloads.forget_files();
    assert_eq!(shown(&mut workloads), ["tasks{} 5"], "a pass that failed says nothing");
}

#[test]
fn the_cgroups_own_count_of_threads_goes_first() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    machine.write(&format!("cgroup/docker/{ID}/pids.current"), "9\n");
    machine.write(&format!("cgroup/docker/{ID}/pids.max"), "64\n");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    assert_eq!(shown(&mut workloads), ["tasks{} 9", "tasks_limit{} 64"]);
}
