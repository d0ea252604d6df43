//! Names that only processes and the clock tell, and containers that the hierarchies show differently.

use std::time::{Duration, Instant};

use super::*;

const UID: &str = "8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e";
const ALLOCATION: &str = "5d16ac2a-9eb6-1b93-4d5e-4f2b0c1d2e3f";

fn pod(name: &str) -> ContainerMetadata {
    let label = |key: &str, value: &str| (format!("io.kubernetes.{key}"), value.to_owned());
    let labels = [label("pod.namespace", "ns"), label("pod.name", name), label("container.name", "main")];
    ContainerMetadata { labels: labels.into(), ..ContainerMetadata::default() }
}

/// Waits until every process that is to be looked at was looked at.
fn look(workloads: &mut Workloads) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        workloads.take_hints(BootNanos(0));
        if workloads.hints.is_idle() {
            return;
        }
        assert!(Instant::now() < deadline, "the processes were not looked at");
        std::thread::yield_now();
    }
}

#[test]
fn a_sandbox_is_asked_about_by_the_id_its_process_has() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("kubepods/besteffort/pod{UID}"));
    let mut workloads = machine.workloads();
    machine.write("proc/7/cmdline", "runsc-gofer\0");
    let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10));
    look(&mut workloads);
    assert_eq!(container_id(&workloads, ix), format!("/sandbox/{UID}"));
    for now in [10, 11, 13] {
        workloads.observe_tasks(&[], at(now), 0);
        let question = workloads.next_inspection().unwrap();
        assert_eq!((question.runtime, &*question.id), (Runtime::Sandbox, UID), "CRI finds it by the pod");
        workloads.handle_inspected(question, Err(InspectError::NotFound), at(now));
    }

    machine.write("proc/8/cmdline", &format!("runsc-sandbox\0boot\0{ID}\0"));
    workloads.observe_tasks(&[task(origin(8, NO_CGROUP, cgroup), 5, 0)], at(11), 0);
    look(&mut workloads);
    let question = workloads.next_inspection().unwrap();
    assert_eq!((question.workload, &*question.id), (ix, ID));
    let mut answer = pod("web-0");
    answer.labels.remove("io.kubernetes.container.name");
    workloads.handle_inspected(question, Ok(answer), at(12));
    assert_eq!(container_id(&workloads, ix), "/k8s/ns/web-0/sandbox");
    workloads.observe_tasks(&[task(origin(8, NO_CGROUP, cgroup), 5, 0)], at(13), 0);
    look(&mut workloads);
    assert_eq!(workloads.next_inspection(), None, "once is enough");
}

#[test]
fn a_sandbox_is_asked_about_by_the_id_that_its_first_process_has() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("kubepods/besteffort/pod{UID}"));
    machine.write("proc/7/cmdline", &format!("runsc-sandbox\0boot\0{ID}\0"));
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10));
    look(&mut workloads);
    let question = workloads.next_inspection().unwrap();
    assert_eq!((question.workload, &*question.id), (ix, ID));
    assert_eq!(workloads.next_inspection(), None);
}

#[test]
fn a_late_failure_does_not_ask_by_the_pod_again() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("kubepods/besteffort/pod{UID}"));
    let mut workloads = machine.workloads();
    workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10));
    look(&mut workloads);
    let by_pod = workloads.next_inspection().unwrap();
    machine.write("proc/8/cmdline", &format!("runsc-sandbox\0boot\0{ID}\0"));
    workloads.observe_tasks(&[task(origin(8, NO_CGROUP, cgroup), 5, 0)], at(11), 0);
    look(&mut workloads);
    let by_id = workloads.next_inspection().unwrap();
    assert_eq!(&*by_id.id, ID);
    workloads.handle_inspected(by_pod, Err(InspectError::Timeout), at(12));
    workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(90));
    assert_eq!(workloads.next_inspection(), None);
    workloads.handle_inspected(by_id, Err(InspectError::Timeout), at(90));
    workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(180));
    assert_eq!(workloads.next_inspection().map(|question| question.id), Some(ID.into()));
    assert_eq!(workloads.next_inspection(), None);
}

#[test]
fn only_a_few_processes_are_looked_at() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("kubepods/besteffort/pod{UID}"));
    let mut workloads = machine.workloads();
    for now in 10..30 {
        workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 5, 0)], at(now), 0);
        look(&mut workloads);
    }
    assert_eq!(workloads.next_inspection().unwrap().runtime, Runtime::Sandbox);
    machine.write("proc/7/cmdline", &format!("runsc-sandbox\0{ID}\0"));
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 5, 0)], at(30), 0);
    look(&mut workloads);
    assert_eq!(workloads.next_inspection(), None);
}

#[test]
fn a_task_of_nomad_is_named_by_its_environment() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("nomad.slice/share.slice/{ALLOCATION}.web.scope"));
    let late = machine.cgroup(&format!("nomad.slice/share.slice/{ALLOCATION}.db.scope"));
    let environment = |task: &str| {
        format!(
            "PATH=/bin\0NOMAD_ALLOC_ID={ALLOCATION}\0NOMAD_JOB_NAME=shop\0NOMAD_GROUP_NAME=front\0\
             NOMAD_TASK_NAME={task}\0NOMAD_NAMESPACE=default\0NOMAD_TOKEN=s3cret\0"
        )
    };
    machine.write("proc/7/environ", &environment("web"));
    let mut workloads = machine.workloads();
    let web = workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10));
    let db = workloads.resolve(&origin(0, NO_CGROUP, late), at(10));
    look(&mut workloads);
    assert_eq!(container_id(&workloads, web), format!("/nomad/default/shop/front/{ALLOCATION}/web"));
    assert_eq!(container_id(&workloads, db), format!("/nomad/{ALLOCATION}/db"));
    machine.write("proc/8/environ", &environment("db"));
    workloads.observe_tasks(&[task(origin(8, NO_CGROUP, late), 5, 0)], at(11), 0);
    look(&mut workloads);
    assert_eq!(container_id(&workloads, db), format!("/nomad/default/shop/front/{ALLOCATION}/db"));
    assert_eq!(workloads.next_inspection(), None, "no runtime knows it");
    assert_eq!(workloads.stats().containers, 2);
}

#[test]
fn a_name_that_is_taken_is_not_given_twice() {
    let machine = Machine::v2();
    let environment =
        format!("NOMAD_ALLOC_ID={ALLOCATION}\0NOMAD_JOB_NAME=j\0NOMAD_GROUP_NAME=g\0NOMAD_TASK_NAME=t\0");
    machine.write("proc/7/environ", &environment);
    let cgroups =
        ["t", "u"].map(|task| machine.cgroup(&format!("nomad.slice/share.slice/{ALLOCATION}.{task}.scope")));
    let mut workloads = machine.workloads();
    let all = cgroups.map(|cgroup| workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10)));
    look(&mut workloads);
    assert_eq!(container_id(&workloads, all[0]), format!("/nomad/default/j/g/{ALLOCATION}/t"));
    assert_eq!(container_id(&workloads, all[1]), format!("/nomad/{ALLOCATION}/u"));
}

#[test]
fn a_process_that_is_stuck_holds_up_nobody_else() {
    let machine = Machine::v2();
    let scope = |task: &str| format!("nomad.slice/share.slice/{ALLOCATION}.{task}.scope");
    let (stuck, web) = (machine.cgroup(&scope("stuck")), machine.cgroup(&scope("web")));
    let environment =
        format!("NOMAD_ALLOC_ID={ALLOCATION}\0NOMAD_JOB_NAME=j\0NOMAD_GROUP_NAME=g\0NOMAD_TASK_NAME=web\0");
    machine.write("proc/8/environ", &environment);
    machine.write("proc/7/comm", "stuck\n");
    // Reading waits until somebody writes.
    let held = machine.root.path().join("proc/7/environ");
    rustix::fs::mkfifoat(rustix::fs::CWD, &held, 0o600.into()).unwrap();
    let mut workloads = machine.workloads();
    let stuck = workloads.resolve(&origin(7, NO_CGROUP, stuck), at(10));
    let web = workloads.resolve(&origin(8, NO_CGROUP, web), at(10));
    assert!(!workloads.is_exported(web, at(10)), "its first series has its name");
    for now in [11, 14] {
        workloads.take_hints(at(now));
    }
    assert_eq!(workloads.stats().hints_lost, (0, 1), "it is left alone");
    look(&mut workloads);
    assert_eq!(container_id(&workloads, web), format!("/nomad/default/j/g/{ALLOCATION}/web"));
    assert!(workloads.is_exported(web, at(10)));
    assert_eq!(container_id(&workloads, stuck), format!("/nomad/{ALLOCATION}/stuck"));
    assert!(workloads.is_exported(stuck, at(13)), "it is shown without its name");
    fs::write(held, "").unwrap();
}

#[test]
fn looks_that_wait_are_bounded() {
    let machine = Machine::v2();
    let scope = |number| format!("nomad.slice/share.slice/{ALLOCATION}.t{number}.scope");
    let cgroups: Vec<_> = (1..=300).map(|number| (number, machine.cgroup(&scope(number)))).collect();
    let mut workloads = machine.workloads();
    let resolve = |(pid, cgroup)| workloads.resolve(&origin(pid, NO_CGROUP, cgroup), at(10));
    let all: Vec<_> = cgroups.into_iter().map(resolve).collect();
    assert_eq!(workloads.stats().hints_lost, (44, 0), "256 fit");
    let wanted = |workloads: &Workloads, ix| workloads.table.get(ix).unwrap().hint.clone();
    let of = |workloads: &Workloads| [wanted(workloads, all[0]), wanted(workloads, all[299])];
    let [first, last] = of(&workloads);
    assert_ne!(first, last, "who was refused has as many looks left as before");
    look(&mut workloads);
    workloads.ask_process(all[299], HostPid(300));
    assert_eq!(workloads.stats().hints_lost, (44, 0));
    assert_eq!(of(&workloads), [first.clone(), first]);
}

#[test]
fn runs_of_a_cronjob_are_one_workload_once_the_clock_is_known() {
    let machine = Machine::v2();
    let cgroups = [ID, OTHER].map(|id| machine.cgroup(&format!("kubepods/pod{UID}/{id}")));
    let mut workloads = machine.workloads();
    workloads.set_unix_time(UnixMillis(1_767_225_600_000));
    let all = cgroups.map(|cgroup| workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10)));
    for planned in [29_453_760, 29_453_765] {
        let question = workloads.next_inspection().unwrap();
        let name = format!("backup-{planned}-x2x7z");
        workloads.handle_inspected(question, Ok(pod(&name)), at(11));
    }
    assert_eq!(container_id(&workloads, all[0]), "/k8s-cronjob/ns/backup/main");
    assert_eq!(workloads.resolve(&origin(7, NO_CGROUP, cgroups[1]), at(12)), all[0]);
}

#[test]
fn the_deeper_of_two_hierarchies_is_believed() {
    let machine = Machine::hybrid();
    let node = format!("docker/{OTHER}");
    let v1 = machine.cgroup(&format!("memory/{node}/kubepods/pod{UID}/{ID}"));
    let v2 = machine.cgroup(&format!("unified/{node}"));
    machine.write(&format!("cgroup/memory/{node}/kubepods/pod{UID}/{ID}/memory.limit_in_bytes"), "4096\n");
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, v1, v2), at(1));
    assert_eq!(container_id(&workloads, ix), "/kubepods/b06f44ca4949");
    let crio = machine.cgroup(&format!("unified/machine.slice/crio-{ID}.scope"));
    let same = workloads.resolve(&origin(8, NO_CGROUP, crio), at(1));
    assert_ne!(same, ix, "by itself it is CRI-O's");
}

#[test]
fn groups_have_no_restarts_and_no_files_of_one_of_them() {
    let machine = Machine::v2();
    let cgroups = [12, 13].map(|number| {
        let unit = format!("system.slice/sshd@{number}-10.0.0.1:22-10.0.0.2:5{number}.service");
        machine.write(&format!("cgroup/{unit}/memory.max"), "4096\n");
        (number, machine.cgroup(&unit))
    });
    let mut workloads = machine.workloads();
    let all = cgroups.map(|(number, cgroup)| {
        workloads.observe_tasks(&[task(origin(number, NO_CGROUP, cgroup), u64::from(number), 0)], at(20), 0);
        workloads.resolve(&origin(number, NO_CGROUP, cgroup), at(20))
    });
    assert_eq!(all[0], all[1]);
    assert_eq!(container_id(&workloads, all[0]), "/system.slice/sshd@.service");
    assert_eq!(series(&mut workloads, at(21)), [] as [String; 0]);
}
