//! What systemd tells of services.

use super::*;
use crate::enrich::systemd::{UnitError, UnitProperties};

fn properties(kind: &str, triggered_by: &str) -> UnitProperties {
    UnitProperties { kind: kind.into(), triggered_by: triggered_by.into() }
}

#[test]
fn a_service_is_asked_about_by_the_name_systemd_writes_and_described() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup("system.slice/snap.lxd\\x2dagent.service");
    let talos = machine.cgroup("podruntime/kubelet");
    let mut workloads = machine.workloads();
    let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10));
    workloads.resolve(&origin(8, NO_CGROUP, talos), at(10));
    let question = workloads.next_unit().unwrap();
    assert_eq!((question.workload, &*question.unit), (ix, "snap.lxd\\x2dagent.service"));
    assert_eq!(workloads.next_unit(), None);
    assert!(workloads.is_exported(ix, at(10)), "a service is named at once");
    workloads.handle_unit(&question, Ok(properties("notify", "lxd.socket")), at(11));
    let id = "container_id=/system.slice/snap.lxd-agent.service";
    let info = format!("container_info{{{id},systemd_triggered_by=lxd.socket,systemd_type=notify}} 1");
    assert!(series(&mut workloads, at(11)).contains(&info));
    let stats = workloads.stats();
    assert_eq!((stats.units_answered, stats.units_failed, stats.units_pending), (1, 0, 0));
}

#[test]
fn a_service_is_asked_about_again_after_a_failure_and_a_restart() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup("system.slice/a.service");
    let mut workloads = machine.workloads();
    let pass = |workloads: &mut Workloads, started, now| {
        workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), started, 0)], at(now), 0);
        workloads.next_unit()
    };
    let question = pass(&mut workloads, 5, 10).unwrap();
    workloads.handle_unit(&question, Err(UnitError::Unreachable("silent".into())), at(10));
    assert_eq!(workloads.next_unit(), None);
    let question = pass(&mut workloads, 5, 11).unwrap();
    workloads.handle_unit(&question, Ok(properties("simple", "")), at(11));
    assert_eq!(pass(&mut workloads, 5, 12), None);
    assert_eq!(pass(&mut workloads, 20, 21).unwrap(), question);
}

#[test]
fn system_services_are_hidden_only_when_asked_for_and_still_counted() {
    let machine = Machine::v2();
    let cgroups = ["web", "backup", "systemd-journald"]
        .map(|name| machine.cgroup(&format!("system.slice/{name}.service")));
    for (hide, expected) in [(false, [true; 3]), (true, [true, false, false])] {
        let settings = Settings { hide_system_services: hide, ..machine.settings() };
        let mut workloads = Workloads::new(settings);
        let all = cgroups.map(|cgroup| workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10)));
        while let Some(question) = workloads.next_unit() {
            let is_backup = &*question.unit == "backup.service";
            let answer =
                if is_backup { properties("simple", "backup.timer") } else { properties("simple", "") };
            workloads.handle_unit(&question, Ok(answer), at(10));
        }
        assert_eq!(all.map(|ix| workloads.is_exported(ix, at(11))), expected);
        assert_eq!(workloads.stats().services, 3);
    }
}
