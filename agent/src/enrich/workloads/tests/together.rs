//! Containers of one name that live side by side.

use super::*;

const THIRD: &str = "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Containers named `job`, the first one oldest.
struct Runs {
    machine: Machine,
    workloads: Workloads,
    now: u64,
}

impl Runs {
    fn new() -> Self {
        let machine = Machine::v2();
        machine.write("proc/diskstats", "8 0 sda 1\n");
        let workloads = machine.workloads();
        Self { machine, workloads, now: 10 }
    }

    /// Says what a run's cgroup counts: all its numbers are multiples of one.
    fn write(&self, id: &str, count: u64) {
        let file =
            |name: &str, text: String| self.machine.write(&format!("cgroup/docker/{id}/{name}"), &text);
        file("cpu.stat", format!("usage_usec {count}000000\nnr_periods {count}\n"));
        file("memory.stat", format!("anon {count}\nfile {count}\npgmajfault {count}\n"));
        file("memory.max", format!("{}\n", count * 100));
        file("memory.events", format!("high 0\nmax {count}\noom 0\noom_kill {count}\n"));
        file("pids.current", format!("{count}\n"));
        file("io.stat", format!("8:0 rios={count}\n"));
        file("cpu.pressure", format!("some total={count}000000\n"));
    }

    fn start(&mut self, id: &str, count: u64) -> WorkloadIx {
        self.now += 1;
        let cgroup = self.machine.cgroup(&format!("docker/{id}"));
        self.write(id, count);
        self.workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(self.now));
        let question = self.workloads.next_inspection().unwrap();
        self.workloads.handle_inspected(question, Ok(named("job")), at(self.now));
        self.workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(self.now))
    }

    /// Its directory goes out of sight, so that no other one gets its inode.
    fn end(&self, id: &str) {
        let root = self.machine.root.path();
        fs::rename(root.join(format!("cgroup/docker/{id}")), root.join(id)).unwrap();
    }

    /// The value of a metric, if it has one.
    fn value(lines: &[String], metric: &str) -> Option<f64> {
        let line = lines.iter().find(|line| line.starts_with(&format!("container_{metric}{{")));
        line.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    /// CPU time, page faults, reads, kills, and pressure; then memory, its limit, and threads.
    fn seen(&mut self) -> ([Option<f64>; 5], [Option<f64>; 3]) {
        let lines = series(&mut self.workloads, at(self.now));
        let counters = [
            "resources_cpu_usage_seconds_total",
            "resources_memory_major_faults_total",
            "resources_disk_reads_total",
            "oom_kills_total",
            "resources_cpu_pressure_waiting_seconds_total",
        ];
        let gauges = ["resources_memory_cache_bytes", "resources_memory_limit_bytes", "resources_tasks"];
        (counters.map(|name| Self::value(&lines, name)), gauges.map(|name| Self::value(&lines, name)))
    }
}

fn all<const N: usize>(values: [u64; N]) -> [Option<f64>; N] {
    values.map(|value| Some(value as f64))
}

#[test]
fn concurrent_runs_are_shown_together() {
    let mut runs = Runs::new();
    let first = runs.start(ID, 10);
    assert_eq!(runs.seen(), (all([10, 10, 10, 10, 10]), all([10, 1000, 10])));
    assert_eq!(runs.start(OTHER, 1), first);
    assert_eq!(runs.seen(), (all([11, 11, 11, 11, 10]), all([11, 1100, 11])), "pressure is the older one's");
    runs.write(ID, 12);
    runs.write(OTHER, 3);
    assert_eq!(runs.seen(), (all([15, 15, 15, 15, 12]), all([15, 1500, 15])));
    // The younger one ends first.
    runs.end(OTHER);
    assert_eq!(runs.seen(), (all([15, 15, 15, 15, 12]), all([12, 1200, 12])));
    runs.write(ID, 20);
    assert_eq!(runs.seen(), (all([23, 23, 23, 23, 20]), all([20, 2000, 20])));
    // The older one ends first.
    assert_eq!(runs.start(THIRD, 5), first);
    assert_eq!(runs.seen(), (all([28, 28, 28, 28, 20]), all([25, 2500, 25])));
    runs.end(ID);
    assert_eq!(runs.seen(), (all([28, 28, 28, 28, 20]), all([5, 500, 5])));
    runs.write(THIRD, 6);
    assert_eq!(runs.seen(), (all([29, 29, 29, 29, 21]), all([6, 600, 6])));
}

#[test]
fn a_run_after_the_last_one_ended_begins_anew() {
    let mut runs = Runs::new();
    runs.start(ID, 10);
    runs.seen();
    runs.end(ID);
    runs.start(OTHER, 1);
    let kills = 11;
    assert_eq!(runs.seen(), (all([1, 1, 1, kills, 1]), all([1, 100, 1])));
    // So it does after two that were together.
    runs.start(THIRD, 4);
    assert_eq!(runs.seen().0, all([5, 5, 5, kills + 4, 1]));
    runs.end(OTHER);
    runs.end(THIRD);
    assert_eq!(runs.seen().0[..3], [None; 3]);
    runs.start(&"f".repeat(64), 2);
    assert_eq!(runs.seen(), (all([2, 2, 2, kills + 6, 2]), all([2, 200, 2])));
}

#[test]
fn a_limit_that_one_does_not_have_is_none() {
    let mut runs = Runs::new();
    runs.start(ID, 10);
    runs.start(OTHER, 1);
    runs.machine.write(&format!("cgroup/docker/{OTHER}/memory.max"), "max\n");
    assert_eq!(runs.seen().1, [Some(11.0), None, Some(11.0)]);
}

#[test]
fn a_younger_run_that_starts_again_goes_on_counting() {
    let mut runs = Runs::new();
    let ix = runs.start(ID, 10);
    runs.start(OTHER, 5);
    assert_eq!(runs.seen().0[0], Some(15.0));
    let path = format!("/docker/{OTHER}");
    runs.workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(1_000_000_007), &path);
    runs.write(OTHER, 1);
    assert_eq!(runs.seen().0[0], Some(16.0));
    assert_eq!(runs.workloads.table.get(ix).unwrap().restarts, 2, "a second container, and its restart");
}

#[test]
fn runs_beyond_the_bound_stay_in_the_sum() {
    let mut runs = Runs::new();
    for run in 0..12_u64 {
        runs.start(&format!("{run:064x}"), 1);
        assert_eq!(runs.seen().0[0], Some(run as f64 + 1.0));
    }
    assert_eq!(runs.seen().1[0], Some(9.0), "what is in use is that of nine");
}

#[test]
fn a_cgroup_inside_another_one_is_not_added_to_it() {
    let mut runs = Runs::new();
    runs.start(ID, 10);
    let inner = runs.start(&format!("{ID}/docker/{OTHER}"), 1);
    assert_eq!(runs.seen().1[0], Some(1.0), "the younger one's");
    assert_eq!(runs.seen().0[0], Some(1.0));
    assert_eq!(runs.workloads.table.get(inner).unwrap().aliases.len(), 1, "one workload all the same");
}
