//! What threads waited is counted once, however their ends and the passes fall together.

use proptest::prelude::*;
use sonde_abi::process::pass;

use super::*;
use crate::model::{Departed, ShortLived, ThreadExit, Waited};

const CONTAINER: &str = "docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// How far a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Runs,
    /// It has `PF_EXITING`, and has not told its end yet.
    Ends,
    /// It has told its end and is listed until somebody waits for it.
    Zombie,
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Simulated {
    pid: u32,
    tid: u32,
    started: u64,
    waited: u64,
    life: Life,
}

/// The kernel with its programs: what it lists, tells and adds up.
struct Kernel {
    cgroup: CgroupId,
    now: u64,
    mark: u64,
    threads: Vec<Simulated>,
    last_tid: u32,
    events: Vec<ThreadExit>,
    sums: [u64; 2],
    /// Final counters of all threads that have told their end.
    told: u64,
}

/// Something that happens to the thread of an index, or to none.
#[derive(Clone, Copy, Debug)]
enum Step {
    Start { pid: u32 },
    Run { thread: usize, ns: u64 },
    Proceed { thread: usize },
}

impl Kernel {
    fn origin(&self, pid: u32) -> Origin {
        origin(pid, NO_CGROUP, self.cgroup)
    }

    fn step(&mut self, step: Step) {
        self.now += 2;
        match step {
            Step::Start { pid } => {
                self.last_tid += 1;
                let tid = self.last_tid;
                self.threads.push(Simulated { pid, tid, started: self.now, waited: 0, life: Life::Runs });
            }
            Step::Run { thread, ns } => {
                let count = self.threads.len().max(1);
                if let Some(thread) = self.threads.get_mut(thread % count) {
                    thread.waited += if matches!(thread.life, Life::Gone) { 0 } else { ns };
                }
            }
            Step::Proceed { thread } if !self.threads.is_empty() => {
                let index = thread % self.threads.len();
                self.threads[index].life = match self.threads[index].life {
                    Life::Runs => Life::Ends,
                    Life::Ends => self.tell(index),
                    Life::Zombie | Life::Gone => Life::Gone,
                };
            }
            Step::Proceed { .. } => {}
        }
    }

    /// `task_exit`.
    fn tell(&mut self, index: usize) -> Life {
        let thread = self.threads[index];
        self.told += thread.waited;
        if pass::may_have_listed(self.mark, thread.started) {
            let waited = Waited { cpu_ns: thread.waited, disk_ns: 0 };
            let origin = self.origin(thread.pid);
            self.events.push(ThreadExit {
                owner: Departed { origin, is_kernel: false },
                tid: thread.tid,
                waited,
            });
        } else {
            self.sums[usize::from(pass::is_second(self.mark))] += thread.waited;
        }
        Life::Zombie
    }

    /// What the observer does, with steps between the rows.
    fn pass(&mut self, workloads: &mut Workloads, between: &[Step]) {
        self.hand_over(workloads);
        workloads.begin_pass();
        self.now += 2;
        self.mark = pass::mark(self.now, !pass::is_second(self.mark));
        let mut steps = between.iter();
        let mut tasks: HashMap<u32, Task> = HashMap::new();
        let mut index = 0;
        while index < self.threads.len() {
            let thread = self.threads[index];
            if thread.life != Life::Gone && pass::may_have_listed(self.mark, thread.started) {
                let new = || Task::new(self.origin(thread.pid), UptimeNanos(1));
                let is_exiting = thread.life != Life::Runs;
                let row = Thread { is_exiting, ..Thread::new(thread.tid, thread.waited) };
                tasks.entry(thread.pid).or_insert_with(new).add_thread(row);
            }
            steps.by_ref().take(4).for_each(|step| self.step(*step));
            index += 1;
        }
        self.hand_over(workloads);
        let tasks: Vec<Task> = tasks.into_values().collect();
        workloads.observe_tasks(&tasks, at(1), 0);
        let resting = &mut self.sums[usize::from(!pass::is_second(self.mark))];
        let waited = Waited { cpu_ns: std::mem::take(resting), disk_ns: 0 };
        let origin = self.origin(0);
        workloads.threads_exited(&ShortLived { owner: Departed { origin, is_kernel: false }, waited }, at(1));
    }

    fn hand_over(&mut self, workloads: &mut Workloads) {
        self.events.drain(..).for_each(|exit| workloads.thread_exited(&exit, at(1)));
    }

    fn end_all(&mut self) {
        for thread in 0..self.threads.len() {
            (0..3).for_each(|_| self.step(Step::Proceed { thread }));
        }
    }
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..4u32).prop_map(|pid| Step::Start { pid }),
        (0..8usize, 1..1000u64).prop_map(|(thread, ns)| Step::Run { thread, ns }),
        (0..8usize).prop_map(|thread| Step::Proceed { thread }),
    ];
    proptest::collection::vec(step, 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_threads_waited_is_counted_once(
        first in steps(20),
        rounds in proptest::collection::vec((steps(20), steps(40)), 1..6),
    ) {
        let machine = Machine::v2();
        let cgroup = machine.cgroup(CONTAINER);
        let mut workloads = machine.workloads();
        let mut kernel =
            Kernel { cgroup, now: 10, mark: 0, threads: Vec::new(), last_tid: 100, events: Vec::new(), sums: [0; 2], told: 0 };
        first.iter().for_each(|step| kernel.step(*step));
        // Before the first pass the programs tell nothing, and what it lists is the baseline.
        kernel.threads.retain(|thread| matches!(thread.life, Life::Runs));
        (kernel.events, kernel.sums, kernel.told) = (Vec::new(), [0; 2], 0);
        let baseline: u64 = kernel.threads.iter().map(|thread| thread.waited).sum();
        kernel.pass(&mut workloads, &[]);
        let ix = workloads.resolve(&kernel.origin(0), at(1));
        let mut before = 0;
        for (between, during) in &rounds {
            between.iter().for_each(|step| kernel.step(*step));
            kernel.pass(&mut workloads, during);
            let counted = workloads.table.get(ix).unwrap().run_delay_ns;
            prop_assert!(counted >= before, "it went back from {before} to {counted}");
            before = counted;
        }
        kernel.end_all();
        kernel.pass(&mut workloads, &[]);
        kernel.pass(&mut workloads, &[]);
        prop_assert_eq!(workloads.table.get(ix).unwrap().run_delay_ns, kernel.told - baseline);
    }
}

#[test]
fn short_lived_processes_are_told_by_their_name() {
    let machine = Machine::v2();
    machine.process(7, "/usr/bin/a-name-that-is-cut");
    let mut workloads = machine.workloads();
    let known = workloads
        .resolve(&Origin { comm: "a-name-that-is-".into(), ..origin(7, NO_CGROUP, NO_CGROUP) }, at(1));
    let waited = Waited { cpu_ns: 3, disk_ns: 4 };
    for (comm, is_kernel) in [("a-name-that-is-", false), ("make", false), ("kworker/0:1", true), ("", false)]
    {
        let origin = Origin { comm: comm.into(), ..origin(0, NO_CGROUP, NO_CGROUP) };
        workloads.threads_exited(&ShortLived { owner: Departed { origin, is_kernel }, waited }, at(2));
    }
    assert_eq!(workloads.table.get(known).unwrap().run_delay_ns, 3);
    let waits = workloads.take_disk_waits();
    let mut waits: Vec<_> = waits.into_iter().collect();
    waits.sort_unstable();
    let names: Vec<(&str, u64)> = waits.iter().map(|(ix, ns)| (container_id(&workloads, *ix), *ns)).collect();
    let expected = ["/host/a-name-that-is-cut", "/host/make", "/host/kernel", "/host/unknown"];
    assert_eq!(names, expected.map(|name| (name, 4)));
    assert!(workloads.take_disk_waits().is_empty());
}

#[test]
fn a_victim_that_is_chosen_again_is_one_victim() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(CONTAINER);
    let mut workloads = machine.workloads();
    let victim = origin(5, NO_CGROUP, cgroup);
    let ix = workloads.oom_victim(&victim, at(10));
    assert!(ix.is_some());
    assert_eq!(workloads.oom_victim(&victim, at(11)), None);
    assert_eq!(workloads.oom_victim(&origin(6, NO_CGROUP, cgroup), at(11)), ix);
    // By then the id is another process'.
    assert_eq!(workloads.oom_victim(&victim, at(70)), ix);
}

#[test]
fn what_was_waited_for_disks_moves_with_its_workload() {
    let machine = Machine::v2();
    let cgroups = [ID, OTHER].map(|id| machine.cgroup(&format!("docker/{id}")));
    let mut workloads = machine.workloads();
    let all = cgroups.map(|cgroup| {
        let owner = Departed { origin: origin(7, NO_CGROUP, cgroup), is_kernel: false };
        workloads.threads_exited(&ShortLived { owner, waited: Waited { cpu_ns: 0, disk_ns: 4 } }, at(1));
        workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(1))
    });
    while let Some(question) = workloads.next_inspection() {
        workloads.handle_inspected(question, Ok(named("web")), at(2));
    }
    assert_eq!(workloads.take_disk_waits(), std::collections::HashMap::from([(all[0], 8)]));
}
