use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

mod churn;
mod disks;
mod exits;
mod files;
mod hints;
mod names;
mod pods;
mod restarts;
mod together;
mod units;
mod users;

use super::*;
use crate::enrich::PublishedPort;
use crate::model::{Thread, UnixMillis, UptimeNanos};
use crate::registry::{SnapshotBuilder, Value};
use crate::resources::{FilesOnly, Measure};

const ID: &str = "b06f44ca4949d516ffe575c59aa58e31dd6af170f369265dda1352ba37aaddbd";
const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SECOND: u64 = 1_000_000_000;

/// A machine of ordinary directories: a procfs beside the cgroups.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn with_mounts(mounts: &str) -> Self {
        Self::below(tempfile::tempdir().unwrap(), mounts)
    }

    fn below(root: tempfile::TempDir, mounts: &str) -> Self {
        let machine = Self { root };
        machine.write("proc/1/mountinfo", mounts);
        for line in mounts.lines() {
            let mount_point = line.split(' ').nth(4).unwrap().strip_prefix("/sys/fs/").unwrap();
            fs::create_dir_all(machine.root.path().join(mount_point)).unwrap();
        }
        machine
    }

    fn hybrid() -> Self {
        Self::with_mounts(
            "1 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             2 1 0:2 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        )
    }

    fn v2() -> Self {
        Self::with_mounts("1 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn cgroup(&self, path: &str) -> CgroupId {
        let path = self.root.path().join("cgroup").join(path);
        fs::create_dir_all(&path).unwrap();
        CgroupId(fs::metadata(path).unwrap().ino())
    }

    fn process(&self, pid: u32, exe: &str) {
        self.write(&format!("proc/{pid}/comm"), "x\n");
        symlink(exe, self.root.path().join(format!("proc/{pid}/exe"))).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings::new(self.root.path().join("proc"), self.root.path().join("cgroup"))
    }

    fn workloads(&self) -> Workloads {
        Workloads::new(self.settings())
    }
}

fn at(seconds: u64) -> BootNanos {
    BootNanos(seconds * SECOND)
}

fn origin(pid: u32, v1: CgroupId, v2: CgroupId) -> Origin {
    Origin { pid: HostPid(pid), v1, v2, comm: "comm".into() }
}

const NO_CGROUP: CgroupId = CgroupId(0);

fn task(origin: Origin, started: u64, run_delay_ns: u64) -> Task {
    threads(origin, started, &[(1, run_delay_ns)])
}

fn threads(origin: Origin, started: u64, threads: &[(u32, u64)]) -> Task {
    let mut task = Task::new(origin, UptimeNanos(started * SECOND));
    threads.iter().for_each(|(tid, run_delay_ns)| {
        task.add_thread(Thread::new(*tid, *run_delay_ns));
    });
    task
}

fn container_id(workloads: &Workloads, ix: WorkloadIx) -> &str {
    workloads.labels(ix).get("container_id").unwrap()
}

fn named(name: &str) -> ContainerMetadata {
    ContainerMetadata { name: name.into(), image: "img:1".into(), ..ContainerMetadata::default() }
}

/// All series as `name{labels} value`, in order.
fn series(workloads: &mut Workloads, now: BootNanos) -> Vec<String> {
    lines(workloads, &FilesOnly, now)
}

fn lines(workloads: &mut Workloads, measure: &dyn Measure, now: BootNanos) -> Vec<String> {
    let mut builder = SnapshotBuilder::default();
    workloads.collect(&mut builder, measure, now);
    let snapshot = builder.build(UnixMillis(0), Labels::empty());
    let mut lines = Vec::new();
    for family in &snapshot.families {
        for sample in family.samples.iter().filter(|_| family.metric.name.starts_with("container_")) {
            let labels: Vec<_> = sample
                .owner
                .iter()
                .chain(sample.own.iter())
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let Value::Number(value) = sample.value else { panic!("no histograms here") };
            lines.push(format!("{}{{{}}} {value}", family.metric.name, labels.join(",")));
        }
    }
    lines
}

#[test]
fn a_container_is_the_same_by_either_hierarchy() {
    let machine = Machine::hybrid();
    let v1 = machine.cgroup(&format!("memory/docker/{ID}"));
    let v2 = machine.cgroup(&format!("unified/docker/{ID}/inner"));
    let root = machine.cgroup("unified");
    let mut workloads = machine.workloads();
    let both = workloads.resolve(&origin(7, v1, v2), at(1));
    assert_eq!(workloads.resolve(&origin(8, v1, root), at(1)), both);
    assert_eq!(workloads.resolve(&origin(9, NO_CGROUP, v2), at(1)), both);
    assert_eq!(container_id(&workloads, both), "/docker/b06f44ca4949");
    assert_eq!(workloads.stats().containers, 1);
}

#[test]
fn services_and_executables_have_their_names() {
    let machine = Machine::v2();
    let service = machine.cgroup("system.slice/nginx.service");
    let scope = machine.cgroup("user.slice/user-0.slice/session-1.scope");
    machine.process(10, "/usr/bin/python3.11");
    machine.write("proc/11/stat", "11 (kworker/0:0) S 2 0 0 0 -1 2097152 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n");
    let mut workloads = machine.workloads();
    let mut name = |pid, v2| {
        let ix = workloads.resolve(&origin(pid, NO_CGROUP, v2), at(1));
        container_id(&workloads, ix).to_owned()
    };
    assert_eq!(name(9, service), "/system.slice/nginx.service");
    assert_eq!(name(10, scope), "/host/python3.11");
    assert_eq!(name(11, scope), "/host/kernel");
    assert_eq!(name(12, scope), "/host/comm");
    assert_eq!(name(13, CgroupId(987_654_321)), "/host/comm");
    let stats = workloads.stats();
    assert_eq!((stats.services, stats.executables, stats.unknown_executables), (1, 3, 2));
}

#[test]
fn a_process_that_executes_another_program_changes_its_workload() {
    let machine = Machine::v2();
    machine.process(10, "/bin/first");
    let mut workloads = machine.workloads();
    let first = workloads.resolve(&origin(10, NO_CGROUP, NO_CGROUP), at(1));
    fs::remove_file(machine.root.path().join("proc/10/exe")).unwrap();
    machine.process(10, "/bin/second");
    assert_eq!(workloads.resolve(&origin(10, NO_CGROUP, NO_CGROUP), at(1)), first, "same comm: remembered");
    let renamed = Origin { comm: "second".into(), ..origin(10, NO_CGROUP, NO_CGROUP) };
    let second = workloads.resolve(&renamed, at(1));
    assert_eq!(container_id(&workloads, second), "/host/second");
}

#[test]
fn a_cut_name_finds_its_executable() {
    let machine = Machine::v2();
    machine.process(10, "/bin/a-very-long-executable");
    let mut workloads = machine.workloads();
    let living = workloads.resolve(&origin(10, NO_CGROUP, NO_CGROUP), at(1));
    let gone = Origin { comm: "a-very-long-exe".into(), ..origin(11, NO_CGROUP, NO_CGROUP) };
    assert_eq!(workloads.resolve(&gone, at(1)), living);
}

#[test]
fn a_container_is_relabelled_when_its_name_arrives() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10));
    assert!(!workloads.is_exported(ix, at(10)), "hidden while the name may come");
    assert!(workloads.is_exported(ix, at(13)), "but not for long");
    let question = workloads.next_inspection().unwrap();
    assert_eq!((question.workload, &*question.id, question.runtime), (ix, ID, Runtime::Docker));
    assert_eq!(workloads.next_inspection(), None);
    workloads.handle_inspected(question, Ok(named("web")), at(11));
    assert!(workloads.is_exported(ix, at(11)));
    assert_eq!(container_id(&workloads, ix), "/docker/web");
    assert_eq!(
        series(&mut workloads, at(11)),
        [
            "container_info{container_id=/docker/web,image=img:1} 1",
            "container_restarts_total{container_id=/docker/web} 0"
        ]
    );
}

#[test]
fn a_runtime_that_is_not_ready_is_asked_again() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10));
    let question = workloads.next_inspection().unwrap();
    workloads.handle_inspected(question, Err(InspectError::Timeout), at(10));
    assert_eq!(workloads.next_inspection(), None);
    workloads.observe_tasks(&[], at(11), 0);
    let question = workloads.next_inspection().unwrap();
    workloads.handle_inspected(question, Ok(named("web")), at(11));
    assert_eq!(container_id(&workloads, ix), "/docker/web");
    assert_eq!(workloads.stats().inspections_pending, 0);
}

#[test]
fn a_later_first_process_is_a_restart() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    machine.process(99, "/bin/shell");
    let mut workloads = machine.workloads();
    let process = |pid, started| task(origin(pid, NO_CGROUP, cgroup), started, 0);
    let shell = |started| task(origin(99, NO_CGROUP, NO_CGROUP), started, 0);
    workloads.observe_tasks(&[process(1, 100), process(2, 105), shell(1)], at(200), 0);
    workloads.observe_tasks(&[process(1, 100), shell(2)], at(210), 0);
    workloads.observe_tasks(&[], at(220), 0);
    workloads.observe_tasks(&[process(3, 225)], at(230), 0);
    workloads.observe_tasks(&[process(3, 225)], at(240), 0);
    let restarts: Vec<_> = series(&mut workloads, at(240));
    assert_eq!(restarts, ["container_restarts_total{container_id=/docker/b06f44ca4949} 1"]);
}

#[test]
fn waiting_for_a_cpu_is_summed_over_processes_and_outlives_them() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup("system.slice/a.service");
    let mut workloads = machine.workloads();
    let process =
        |pid, started, seconds: u64| task(origin(pid, NO_CGROUP, cgroup), started, seconds * SECOND);
    let mut delay = |tasks: &[Task], now| {
        workloads.observe_tasks(tasks, at(now), 0);
        let lines = series(&mut workloads, at(now));
        let line =
            lines.iter().find_map(|line| line.strip_prefix("container_resources_cpu_delay_seconds_total"));
        line.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
    };
    assert_eq!(delay(&[process(1, 1, 0)], 10), None, "a kernel that does not count shows nothing");
    assert_eq!(delay(&[process(1, 1, 4)], 20), Some(4.0));
    assert_eq!(delay(&[process(1, 1, 5), process(2, 15, 2)], 30), Some(7.0));
    assert_eq!(delay(&[process(2, 15, 3)], 40), Some(8.0));
    assert_eq!(delay(&[process(2, 39, 1)], 50), Some(9.0), "the same pid is another process");
}

#[test]
fn threads_that_end_hide_nothing_of_the_others() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup("system.slice/a.service");
    let mut workloads = machine.workloads();
    let mut delay = |waited: &[(u32, u64)], now| {
        let seconds: Vec<_> = waited.iter().map(|(tid, seconds)| (*tid, seconds * SECOND)).collect();
        let process = threads(origin(1, NO_CGROUP, cgroup), 1, &seconds);
        workloads.observe_tasks(&[process], at(now), 0);
        let lines = series(&mut workloads, at(now));
        let line = lines.iter().find(|line| line.starts_with("container_resources_cpu_delay")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert_eq!(delay(&[(1, 10), (2, 100)], 10), 0.0, "a baseline");
    assert_eq!(delay(&[(3, 4), (1, 12)], 20), 6.0, "one ended, one began");
    assert_eq!(delay(&[(3, 5), (1, 12)], 30), 7.0);
    assert_eq!(delay(&[(3, 2), (1, 12)], 40), 9.0, "the same id is another thread");
}

#[test]
fn what_was_waited_before_the_agent_started_is_not_counted() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup("system.slice/a.service");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(1, NO_CGROUP, cgroup), 1, 5 * SECOND)], at(10), 0);
    workloads.observe_tasks(&[task(origin(1, NO_CGROUP, cgroup), 1, 6 * SECOND)], at(20), 0);
    let expected = "container_resources_cpu_delay_seconds_total{container_id=/system.slice/a.service} 1";
    assert!(series(&mut workloads, at(20)).contains(&expected.to_owned()));
}

#[test]
fn sockets_that_nobody_holds_have_no_owner_of_their_own() {
    let machine = Machine::v2();
    let scope = machine.cgroup("user.slice/a.scope");
    let service = machine.cgroup("system.slice/a.service");
    let mut workloads = machine.workloads();
    assert_eq!(workloads.resolve_owner(&origin(0, NO_CGROUP, scope), at(1)), None);
    assert_eq!(workloads.resolve_owner(&origin(0, NO_CGROUP, NO_CGROUP), at(1)), None);
    assert_eq!(workloads.stats().executables, 0);
    let owner = workloads.resolve_owner(&origin(0, NO_CGROUP, service), at(1)).unwrap();
    assert_eq!(container_id(&workloads, owner), "/system.slice/a.service");
    let process = workloads.resolve_owner(&origin(7, NO_CGROUP, scope), at(1)).unwrap();
    assert_eq!(container_id(&workloads, process), "/host/comm");
}

#[test]
fn a_hierarchy_that_the_kernel_does_not_tell_is_read_from_the_process() {
    let machine = Machine::hybrid();
    let v1 = machine.cgroup(&format!("memory/docker/{ID}"));
    let other = machine.cgroup(&format!("memory/docker/{OTHER}"));
    let root = machine.cgroup("unified");
    machine.write("proc/7/cgroup", &format!("3:memory:/docker/{ID}\n0::/\n"));
    machine.write("proc/8/cgroup", &format!("3:memory:/docker/{OTHER}\n0::/\n"));
    let mut workloads = machine.workloads();
    let [first, second] = [7, 8].map(|pid| workloads.resolve(&origin(pid, NO_CGROUP, root), at(1)));
    assert_eq!(container_id(&workloads, first), "/docker/b06f44ca4949");
    assert_eq!(container_id(&workloads, second), "/docker/0123456789ab");
    assert_eq!([v1, other].map(|v1| workloads.resolve(&origin(9, v1, root), at(1))), [first, second]);
}

#[test]
fn restarts_of_a_service_leave_nothing_behind() {
    let machine = Machine::v2();
    let mut workloads = machine.workloads();
    let service = "/system.slice/a.service";
    let mut found = Vec::new();
    for start in 0..10 {
        let cgroup = CgroupId(1000 + start);
        workloads.handle_cgroup_created(Hierarchy::V2, cgroup, service);
        found.push(workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(start * 120)));
        workloads.handle_cgroup_removed(Hierarchy::V2, cgroup);
        assert_eq!(workloads.retired(at(start * 120 + 59)), []);
        assert_eq!(workloads.by_cgroups.len(), 1, "late events still find it");
        assert_eq!(workloads.retired(at(start * 120 + 60)), []);
        assert_eq!(workloads.by_cgroups.len(), 0);
    }
    assert!(found.iter().all(|ix| *ix == found[0]), "{found:?}");
}

#[test]
fn without_events_a_walk_finds_what_was_removed() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup("system.slice/a.service");
    let mut workloads = machine.workloads();
    let resolve = |workloads: &mut Workloads, now| workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(now));
    resolve(&mut workloads, 10);
    fs::remove_dir(machine.root.path().join("cgroup/system.slice/a.service")).unwrap();
    assert_eq!(workloads.retired(at(600)), []);
    assert_eq!(workloads.by_cgroups.len(), 1);
    assert_eq!(workloads.retired(at(609)), []);
    resolve(&mut workloads, 609);
    assert_eq!(workloads.retired(at(610)), []);
    assert_eq!(workloads.by_cgroups.len(), 1, "late events still find it");
    assert_eq!(workloads.retired(at(670)), []);
    assert_eq!((workloads.by_cgroups.len(), workloads.stats().tree.scans), (0, 2));
}

#[test]
fn suspension_does_not_make_workloads_younger() {
    let machine = Machine::v2();
    machine.process(10, "/bin/a");
    let settings = Settings { min_age: Duration::from_secs(30), ..machine.settings() };
    let mut workloads = Workloads::new(settings);
    // The machine slept for 1000 s; the process started 20 s ago on either clock.
    workloads.observe_tasks(&[task(origin(10, NO_CGROUP, NO_CGROUP), 1080, 0)], at(100), 1000 * SECOND);
    let ix = workloads.resolve(&origin(10, NO_CGROUP, NO_CGROUP), at(100));
    assert_eq!([109, 110].map(|now| workloads.is_exported(ix, at(now))), [false, true]);
}

#[test]
fn the_gone_are_retired_after_ten_minutes() {
    let machine = Machine::v2();
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, NO_CGROUP, NO_CGROUP), at(10));
    assert_eq!(workloads.retired(BootNanos(at(610).0 - 1)), []);
    assert_eq!(workloads.retired(at(610)), [ix]);
    assert!(!workloads.is_exported(ix, at(610)));
    assert_ne!(
        workloads.resolve(&origin(7, NO_CGROUP, NO_CGROUP), at(611)),
        ix,
        "an index is never used twice"
    );
}

#[test]
fn what_does_not_fit_shares_one_workload() {
    let machine = Machine::v2();
    let mut workloads = Workloads::new(Settings { max_workloads: 1, ..machine.settings() });
    machine.process(10, "/bin/a");
    machine.process(11, "/bin/b");
    workloads.resolve(&origin(10, NO_CGROUP, NO_CGROUP), at(1));
    assert!(!workloads.is_exported(Workloads::OVERFLOW, at(1)));
    assert_eq!(workloads.resolve(&origin(11, NO_CGROUP, NO_CGROUP), at(1)), Workloads::OVERFLOW);
    assert_eq!(container_id(&workloads, Workloads::OVERFLOW), "/overflow");
    assert!(workloads.is_exported(Workloads::OVERFLOW, at(1)));
    assert_eq!(workloads.stats().overflowed, 1);
}

#[test]
fn filters_and_age_hide_workloads() {
    let machine = Machine::v2();
    machine.process(10, "/bin/web-one");
    machine.process(11, "/bin/web-two");
    machine.process(12, "/bin/other");
    let mut workloads = Workloads::new(Settings {
        allow: vec![Regex::new("/web-").unwrap()],
        deny: vec![Regex::new("two$").unwrap()],
        min_age: Duration::from_secs(30),
        ..machine.settings()
    });
    let all = [10, 11, 12].map(|pid| workloads.resolve(&origin(pid, NO_CGROUP, NO_CGROUP), at(100)));
    assert_eq!(all.map(|ix| workloads.is_exported(ix, at(130))), [true, false, false]);
    assert!(!workloads.is_exported(all[0], at(129)));
    workloads.observe_tasks(&[task(origin(10, NO_CGROUP, NO_CGROUP), 95, 0)], at(101), 0);
    assert!(workloads.is_exported(all[0], at(125)), "the age is that of the oldest process");
}

#[test]
fn the_live_machine_puts_every_process_somewhere() {
    let mut workloads = Workloads::new(Settings::new("/proc", "/sys/fs/cgroup"));
    let tasks = workloads.walk_processes().unwrap();
    workloads.observe_tasks(&tasks, at(1_000_000), 0);
    let own = tasks.iter().find(|task| task.origin.pid.0 == std::process::id()).unwrap();
    let ix = workloads.resolve(&own.origin, at(1_000_000));
    assert_ne!(ix, Workloads::OVERFLOW);
    assert!(container_id(&workloads, ix).starts_with('/'));
    assert_eq!(workloads.stats().overflowed, 0);
    series(&mut workloads, at(1_000_000));
}
