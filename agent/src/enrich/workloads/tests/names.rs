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
    fs::remove_dir_all(pair.machine.root.path().join(format!("cgroup/docker/{ID}"))).unwrap();
    let limit = "container_resources_memory_limit_bytes{container_id=/docker/web} 2".to_owned();
    assert!(series(&mut pair.workloads, at(22)).contains(&limit));
    pair.workloads.handle_inspected(first, Ok(named("late")), at(23));
    assert_eq!(container_id(&pair.workloads, older), "/docker/web", "that one is no more");
}

#[test]
fn containers_of_one_name_that_overlap_restart_once() {
    let mut pair = Pair::new();
    let questions = pair.questions();
    pair.workloads.observe_tasks(&[pair.process(0, 5, 0), pair.process(1, 19, 0)], at(21), 0);
    for question in questions {
        pair.workloads.handle_inspected(question, Ok(named("web")), at(22));
    }
    let mut restarts = |tasks: &[Task], now| {
        pair.workloads.observe_tasks(tasks, at(now), 0);
        let ix = pair.workloads.resolve(&tasks[0].origin, at(now));
        pair.workloads.table.get(ix).unwrap().restarts
    };
    let [older, newer] = [(0, 5), (1, 19)]
        .map(|(index, started)| task(origin(7 + index, NO_CGROUP, pair.cgroups[index as usize]), started, 0));
    assert_eq!(restarts(&[older.clone(), newer.clone()], 23), 0, "both live");
    assert_eq!(restarts(std::slice::from_ref(&newer), 24), 1, "the older one has ended");
    assert_eq!(restarts(&[newer], 25), 1);
}

#[test]
fn the_older_container_of_a_name_stays_known() {
    let mut pair = Pair::new();
    for question in pair.questions() {
        pair.workloads.handle_inspected(question, Ok(named("web")), at(20));
    }
    let inner = pair.machine.cgroup(&format!("docker/{ID}/inner"));
    let found = pair.workloads.resolve(&origin(9, NO_CGROUP, inner), at(21));
    assert_eq!((found, pair.workloads.next_inspection()), (pair.all[0], None));
    let path = pair.workloads.table.get(found).unwrap().paths.v2.clone();
    assert_eq!(path.as_deref(), Some(&*format!("/docker/{OTHER}")), "the files are the younger one's");
    assert_eq!(pair.workloads.retired(at(700)), [found]);
    let [(rows, _), (keys, _), (names, _), _] = pair.workloads.table.sizes();
    assert_eq!((rows, keys, names), (0, 0, 0));
}

#[test]
fn a_cronjob_that_runs_for_ever_leaves_few_keys() {
    let machine = Machine::v2();
    let mut workloads = machine.workloads();
    for run in 0..40 {
        let cgroup = machine.cgroup(&format!("docker/{run:064x}"));
        workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(run));
        let question = workloads.next_inspection().unwrap();
        workloads.handle_inspected(question, Ok(named("job")), at(run));
    }
    let [(rows, _), (keys, _), ..] = workloads.table.sizes();
    assert_eq!((rows, keys), (1, 9));
}
