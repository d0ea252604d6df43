//! Restarts: what passes miss, cgroups tell, and nothing counts twice.

use super::*;

/// A container under the eyes of the agent.
struct Watched {
    machine: Machine,
    workloads: Workloads,
    /// Its cgroup, as the kernel numbers them: none has the id of one that was removed.
    cgroup: CgroupId,
}

impl Watched {
    /// One that is older than the agent, and was seen by a pass.
    fn new() -> Self {
        let machine = Machine::v2();
        let cgroup = machine.cgroup(&format!("docker/{ID}"));
        let workloads = machine.workloads();
        let mut watched = Self { machine, workloads, cgroup };
        watched.pass(5, 10);
        watched
    }

    fn restart(&mut self) {
        self.workloads.handle_cgroup_removed(Hierarchy::V2, self.cgroup);
        self.cgroup = CgroupId(self.cgroup.0 + 1_000_000_007);
        self.workloads.handle_cgroup_created(Hierarchy::V2, self.cgroup, &format!("/docker/{ID}"));
    }

    /// A pass that finds the first process with this start.
    fn pass(&mut self, started: u64, now: u64) {
        let process = task(origin(started as u32, NO_CGROUP, self.cgroup), started, 0);
        self.workloads.observe_tasks(&[process], at(now), 0);
    }

    fn restarts(&self) -> u64 {
        restarts(&self.workloads)
    }
}

/// Restarts of all workloads.
fn restarts(workloads: &Workloads) -> u64 {
    workloads.table.records().map(|record| record.restarts).sum()
}

#[test]
fn restarts_between_two_passes_are_all_counted() {
    let mut watched = Watched::new();
    assert_eq!(watched.restarts(), 0, "older than the agent");
    (0..5).for_each(|_| watched.restart());
    assert_eq!(watched.restarts(), 5);
    watched.workloads.observe_tasks(&[], at(20), 0);
    assert_eq!(watched.restarts(), 5, "none of its processes lived");
    watched.pass(25, 30);
    assert_eq!(watched.restarts(), 5, "the start was told by its cgroup");
    watched.pass(35, 40);
    assert_eq!(watched.restarts(), 6, "in the same cgroup");
    watched.restart();
    watched.pass(45, 50);
    watched.pass(45, 60);
    assert_eq!(watched.restarts(), 7);
}

#[test]
fn restarts_before_anything_is_known_of_the_container_are_counted() {
    let machine = Machine::v2();
    let mut workloads = machine.workloads();
    for cgroup in 1..=4 {
        workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(cgroup), &format!("/docker/{ID}"));
        workloads.handle_cgroup_removed(Hierarchy::V2, CgroupId(cgroup));
    }
    workloads.resolve(&origin(7, NO_CGROUP, CgroupId(4)), at(1));
    assert_eq!(restarts(&workloads), 3);
    workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(5), &format!("/docker/{ID}"));
    assert_eq!(restarts(&workloads), 4);
    workloads.observe_tasks(&[task(origin(8, NO_CGROUP, CgroupId(5)), 9, 0)], at(10), 0);
    workloads.observe_tasks(&[task(origin(9, NO_CGROUP, CgroupId(5)), 19, 0)], at(20), 0);
    assert_eq!(restarts(&workloads), 5, "the first pass of all has seen the fifth start");
}

#[test]
fn a_start_that_makes_a_cgroup_in_both_hierarchies_is_one() {
    let machine = Machine::hybrid();
    let path = "/system.slice/a.service";
    let mut workloads = machine.workloads();
    for start in 1..=3u64 {
        for (hierarchy, cgroup) in [(Hierarchy::V2, CgroupId(start)), (Hierarchy::V1, CgroupId(start * 10))] {
            workloads.handle_cgroup_created(hierarchy, cgroup, path);
        }
        let process = task(origin(7, CgroupId(start * 10), CgroupId(start)), start, 0);
        workloads.observe_tasks(&[process], at(start), 0);
        assert_eq!(restarts(&workloads), start - 1);
    }
}

#[test]
fn a_pass_ahead_of_the_event_counts_the_start_once() {
    let mut watched = Watched::new();
    // Another directory, so that it has another inode.
    let next = watched.machine.cgroup("next");
    let path = |path: String| watched.machine.root.path().join("cgroup").join(path);
    fs::remove_dir(path(format!("docker/{ID}"))).unwrap();
    fs::rename(path("next".into()), path(format!("docker/{ID}"))).unwrap();
    watched.cgroup = next;
    watched.pass(15, 20);
    assert_eq!(watched.restarts(), 1);
    watched.workloads.handle_cgroup_created(Hierarchy::V2, next, &format!("/docker/{ID}"));
    watched.pass(15, 30);
    assert_eq!(watched.restarts(), 1);
}

#[test]
fn a_cgroup_inside_tells_of_the_one_around_it() {
    let machine = Machine::v2();
    let mut workloads = machine.workloads();
    workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(1), &format!("/docker/{ID}"));
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, CgroupId(1)), 1, 0)], at(1), 0);
    workloads.handle_cgroup_removed(Hierarchy::V2, CgroupId(1));
    workloads.retired(at(61));
    // The event of the container's own cgroup was lost.
    let own = machine.cgroup(&format!("docker/{ID}"));
    workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(2), &format!("/docker/{ID}/init.scope"));
    assert_eq!(restarts(&workloads), 1);
    workloads.observe_tasks(&[task(origin(8, NO_CGROUP, CgroupId(2)), 65, 0)], at(70), 0);
    workloads.handle_cgroup_created(Hierarchy::V2, own, &format!("/docker/{ID}"));
    workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(3), &format!("/docker/{ID}/user.slice"));
    assert_eq!(restarts(&workloads), 1);
}

#[test]
fn restarts_are_forgotten_with_the_workload_only() {
    let mut watched = Watched::new();
    watched.restart();
    watched.workloads.handle_cgroup_removed(Hierarchy::V2, watched.cgroup);
    // The tree has forgotten the cgroup, the table still knows the container.
    watched.workloads.retired(at(300));
    watched.restart();
    assert_eq!(watched.restarts(), 2);
    watched.workloads.retired(at(610));
    assert_eq!((watched.restarts(), watched.workloads.stats().containers), (0, 0));
}

#[test]
fn what_is_no_container_has_no_restarts() {
    let machine = Machine::v2();
    let mut workloads = machine.workloads();
    for cgroup in 1..=3 {
        workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(cgroup), "/user.slice/a.scope");
        workloads.observe_tasks(&[task(origin(7, NO_CGROUP, CgroupId(cgroup)), cgroup, 0)], at(cgroup), 0);
    }
    assert_eq!(restarts(&workloads), 0);
}
