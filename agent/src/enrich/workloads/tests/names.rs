//! Containers that are made anew under the name of another one.

use super::*;

/// Two containers of which the second one is younger; none is named yet.
struct Pair {
    machine: Machine,
    workloads: Workloads,
    cgroups: [CgroupId; 2],
    all: [WorkloadIx; 2],
}

impl Pair {
    fn new() -> Self {
        let machine = Machine::v2();
        let cgroups = [ID, OTHER].map(|id| machine.cgroup(&format!("docker/{id}")));
        let mut workloads = machine.workloads();
        let of = |workloads: &mut Workloads, index: usize, now| {
            workloads.resolve(&origin(7, NO_CGROUP, cgroups[index]), at(now))
        };
        let all = [of(&mut workloads, 0, 10), of(&mut workloads, 1, 20)];
        Self { machine, workloads, cgroups, all }
    }

    fn process(&self, index: usize, started: u64, waited: u64) -> Task {
        task(origin(7 + index as u32, NO_CGROUP, self.cgroups[index]), started, waited * SECOND)
    }

    fn questions(&mut self) -> [ContainerRef; 2] {
        [self.workloads.next_inspection().unwrap(), self.workloads.next_inspection().unwrap()]
    }
}

#[test]
fn a_new_container_of_the_same_name_is_the_same_workload() {
    let mut pair = Pair::new();
    let [older, newer] = pair.all;
    let merged =
        pair.questions().map(|question| pair.workloads.handle_inspected(question, Ok(named("web")), at(20)));
    assert_eq!(merged, [None, Some(Merged { from: newer, into: older })]);
    assert!(pair.workloads.is_exported(older, at(20)), "no series ends");
    assert!(!pair.workloads.is_exported(newer, at(20)));
    for cgroup in pair.cgroups {
        assert_eq!(pair.workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(21)), older);
    }
    assert_eq!(container_id(&pair.workloads, older), "/docker/web");
    assert_eq!(
        series(&mut pair.workloads, at(21))[1],
        "container_restarts_total{container_id=/docker/web} 1"
    );
    assert_eq!((pair.workloads.stats().containers, pair.workloads.stats().inspections_pending), (1, 0));
    assert_eq!(pair.workloads.retired(at(621)), [older]);
    assert_eq!(pair.workloads.stats().containers, 0);
}

#[test]
fn counts_go_on_and_the_restart_counts_once() {
    let mut pair = Pair::new();
    let questions = pair.questions();
    pair.workloads.observe_tasks(&[pair.process(0, 5, 0), pair.process(1, 19, 0)], at(21), 0);
    pair.workloads.observe_tasks(&[pair.process(0, 5, 3), pair.process(1, 19, 4)], at(22), 0);
    for question in questions {
        pair.workloads.handle_inspected(question, Ok(named("web")), at(23));
    }
    pair.workloads.observe_tasks(&[pair.process(1, 19, 6)], at(24), 0);
    let lines = series(&mut pair.workloads, at(24));
    for expected in
        ["cpu_delay_seconds_total{container_id=/docker/web} 9", "restarts_total{container_id=/docker/web} 1"]
    {
        assert!(lines.iter().any(|line| line.ends_with(expected)), "{expected}: {lines:?}");
    }
}

#[test]
fn answers_in_another_order_keep_the_younger_container() {
    let mut pair = Pair::new();
    let file = |id: &str| format!("cgroup/docker/{id}/memory.max");
    pair.machine.write(&file(ID), "1\n");
    pair.machine.write(&file(OTHER), "2\n");
    let [older, newer] = pair.all;
    let [first, second] = pair.questions();
    pair.workloads.resolve(&origin(0, NO_CGROUP, pair.cgroups[0]), at(21));
    assert_eq!(pair.workloads.handle_inspected(second, Ok(named("web")), at(22)), None);
    let merged = pair.workloads.handle_inspected(first.clone(), Ok(named("web")), at(22));
    assert_eq!(merged, Some(Merged { from: newer, into: older }));
    let limit = "container_resources_memory_limit_bytes{container_id=/docker/web} 2".to_owned();
    assert!(series(&mut pair.workloads, at(22)).contains(&limit));
    pair.workloads.handle_inspected(first, Ok(named("late")), at(23));
    assert_eq!(container_id(&pair.workloads, older), "/docker/web", "that one is no more");
}
