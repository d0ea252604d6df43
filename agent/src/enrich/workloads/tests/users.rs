//! Cgroups that a user makes in its own slice, by any name it likes.

use super::*;

const SLICE: &str = "user.slice/user-1000.slice/user@1000.service/app.slice";

fn limit(workloads: &mut Workloads, container_id: &str, now: u64) -> Option<String> {
    let prefix = format!("container_resources_memory_limit_bytes{{container_id={container_id}}} ");
    let lines = series(workloads, at(now));
    lines.iter().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
}

#[test]
fn a_user_that_takes_the_id_of_a_container_is_another_workload() {
    let machine = Machine::v2();
    let paths = [format!("system.slice/docker-{ID}.scope"), format!("{SLICE}/docker-{ID}.scope")];
    let cgroups = [0, 1].map(|index| {
        machine.write(&format!("cgroup/{}/memory.max", paths[index]), &format!("{}\n", (index + 1) * 4096));
        machine.cgroup(&paths[index])
    });
    let mut workloads = machine.workloads();
    let [real, look_alike] = cgroups.map(|cgroup| workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(1)));
    assert_ne!(real, look_alike);
    assert_eq!(container_id(&workloads, look_alike), "/user-1000/docker/b06f44ca4949");
    // Even a runtime that tells the same of both makes no one of them.
    while let Some(question) = workloads.next_inspection() {
        assert_eq!(workloads.handle_inspected(question, Ok(named("web")), at(2)), None);
    }
    assert_eq!(container_id(&workloads, real), "/docker/web");
    assert_eq!(container_id(&workloads, look_alike), "/user-1000/docker/web");
    assert_eq!(limit(&mut workloads, "/docker/web", 20).as_deref(), Some("4096"));
    assert_eq!(limit(&mut workloads, "/user-1000/docker/web", 20).as_deref(), Some("8192"));
}

#[test]
fn processes_of_a_users_look_alike_are_not_asked_for_names() {
    let allocation = "5d16ac2a-9eb6-1b93-4d5e-4f2b0c1d2e3f";
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("{SLICE}/nomad.slice/share.slice/{allocation}.t.scope"));
    let environment =
        format!("NOMAD_ALLOC_ID={allocation}\0NOMAD_JOB_NAME=j\0NOMAD_GROUP_NAME=g\0NOMAD_TASK_NAME=t\0");
    machine.write("proc/7/environ", &environment);
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(1));
    assert_eq!(container_id(&workloads, ix), format!("/user-1000/nomad/{allocation}/t"));
}

#[test]
fn a_container_keeps_its_cgroup_as_long_as_there_is_one() {
    let machine = Machine::v2();
    let [first, second] = ["first", "second"].map(|parent| format!("{parent}/docker/{ID}"));
    for (path, limit) in [(&first, "4096\n"), (&second, "8192\n")] {
        machine.write(&format!("cgroup/{path}/memory.max"), limit);
    }
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, NO_CGROUP, machine.cgroup(&first)), at(1));
    let question = workloads.next_inspection().unwrap();
    workloads.handle_inspected(question, Ok(named("web")), at(1));
    assert_eq!(workloads.resolve(&origin(8, NO_CGROUP, machine.cgroup(&second)), at(2)), ix);
    assert_eq!(limit(&mut workloads, "/docker/web", 20).as_deref(), Some("4096"));
    let inner = machine.cgroup(&format!("{second}/inner"));
    fs::remove_dir_all(machine.root.path().join("cgroup").join(&first)).unwrap();
    assert_eq!(workloads.resolve(&origin(9, NO_CGROUP, inner), at(30)), ix);
    assert_eq!(
        limit(&mut workloads, "/docker/web", 40).as_deref(),
        Some("8192"),
        "it was made anew elsewhere"
    );
}
