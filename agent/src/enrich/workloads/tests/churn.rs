//! Containers that come and go in great numbers leave nothing behind.

use super::*;

#[test]
fn churn_keeps_the_table_bounded_and_everything_counted() {
    let machine = Machine::v2();
    let settings = Settings { max_workloads: 64, ..machine.settings() };
    let mut workloads = Workloads::new(settings);
    let mut retired = 0;
    for number in 0..10_000u64 {
        let now = at(number);
        let path = format!("/docker/{number:012x}{:052x}", 0);
        workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(number + 1), &path);
        workloads.resolve(&origin(7, NO_CGROUP, CgroupId(number + 1)), now);
        workloads.handle_cgroup_removed(Hierarchy::V2, CgroupId(number + 1));
        retired += workloads.retired(now).len() as u64;
    }
    let stats = workloads.stats();
    // One a second, each kept for a minute after it was last seen: none has to share the overflow.
    assert_eq!((stats.containers, stats.overflowed), (60, 0), "{stats:?}");
    assert_eq!((retired, stats.evicted), (9_940, 9_940));
    assert!(stats.tree.known <= 61, "{stats:?}");
    assert_eq!(stats.inspections_pending, stats.containers);
}

/// The collector of garbage comes by once a minute.
const SWEEP: u64 = 60;

/// No table has, or has room for, more than so many rows.
#[track_caller]
fn assert_bounded(workloads: &Workloads, bound: usize) {
    let sizes = workloads.table.sizes();
    assert!(sizes.iter().all(|(length, _)| *length <= Settings::MAX_WORKLOADS), "{sizes:?}");
    let aliases: usize = workloads.table.records().map(|record| record.aliases.len()).sum();
    assert_eq!(sizes[0].0 + aliases, sizes[1].0, "every row has one key, and those of the containers it was");
    assert_eq!(sizes[0].0, sizes[2].0, "every row has one name");
    let capacities = [
        sizes.map(|(_, capacity)| capacity).into_iter().max().unwrap(),
        workloads.tree.capacity(),
        workloads.inspections.capacities().into_iter().max().unwrap(),
        workloads.by_cgroups.capacity(),
        workloads.executables.capacity(),
        workloads.units.capacity(),
    ];
    assert!(capacities.iter().all(|capacity| *capacity <= bound), "{capacities:?} above {bound}");
}

#[track_caller]
fn assert_empty(workloads: &Workloads) {
    assert_eq!(workloads.table.sizes().map(|(length, _)| length), [0; 4]);
    assert_eq!((workloads.by_cgroups.len(), workloads.executables.len()), (0, 0));
    assert_eq!((workloads.inspections.pending(), workloads.units.pending()), (0, 0));
}

#[test]
fn a_hundred_thousand_containers_told_by_events_pass_with_flat_tables() {
    let machine = Machine::v2();
    let mut workloads = machine.workloads();
    let (per_second, all) = (50, 100_000);
    let mut told = 0;
    for number in 0..all {
        let second = number / per_second;
        let (cgroup, now) = (CgroupId(number + 1), at(second));
        let path = format!("/docker/{number:012x}{:052x}", 0);
        workloads.handle_cgroup_created(Hierarchy::V2, cgroup, &path);
        let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), now);
        assert_ne!(ix, Workloads::OVERFLOW, "{number}");
        workloads.handle_cgroup_removed(Hierarchy::V2, cgroup);
        // Nobody takes a question: the queue to the runtimes is full.
        if number % (per_second * SWEEP) == 0 {
            told += workloads.retired(now).len() as u64;
            assert_bounded(&workloads, 16_384);
        }
    }
    assert_eq!(workloads.stats().overflowed, 0);
    told += workloads.retired(at(all / per_second + 700)).len() as u64;
    assert_eq!(told, all, "every container was told to be gone once");
    assert_empty(&workloads);
}

#[test]
fn a_hundred_thousand_cgroups_without_events_pass_with_flat_tables() {
    // Cgroups never get the inode of one that was removed; of ordinary file systems only tmpfs keeps that.
    let Ok(root) = tempfile::tempdir_in("/dev/shm") else { return crate::skip::record("no /dev/shm") };
    let machine = Machine::below(root, "1 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    let mut workloads = machine.workloads();
    let (batch, batches) = (500, 200);
    let mut named = 0;
    for number in 0..batches {
        let now = at(number * 10);
        let path = |member: u64| {
            format!("kubepods/burstable/pod8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e/{number:032x}{member:032x}")
        };
        let cgroups: Vec<_> = (0..batch).map(|member| machine.cgroup(&path(member))).collect();
        for cgroup in cgroups {
            let ix = workloads.resolve(&origin(7, NO_CGROUP, cgroup), now);
            named += u64::from(container_id(&workloads, ix).starts_with("/kubepods/"));
        }
        for member in 0..batch {
            fs::remove_dir(machine.root.path().join("cgroup").join(path(member))).unwrap();
        }
        if number % 6 == 0 {
            workloads.retired(now);
            assert_bounded(&workloads, 16_384);
        }
    }
    assert_eq!((named, workloads.stats().overflowed), (batch * batches, 0));
    // The walk that finds them gone, and what is forgotten later.
    for later in [700, 1400] {
        workloads.retired(at(batches * 10 + later));
    }
    assert_empty(&workloads);
    assert!(workloads.stats().tree.known < 10, "{:?}", workloads.stats());
}

#[test]
fn a_crowded_table_makes_room_between_two_sweeps() {
    let machine = Machine::v2();
    let mut workloads = Workloads::new(Settings { max_workloads: 16, ..machine.settings() });
    let mut resolve = |number: u64, now| {
        workloads.handle_cgroup_created(Hierarchy::V2, CgroupId(number), &format!("/lxc/{number}"));
        workloads.resolve(&origin(7, NO_CGROUP, CgroupId(number)), at(now))
    };
    let first: Vec<_> = (1..=16).map(|number| resolve(number, number)).collect();
    assert_eq!(resolve(17, 60), Workloads::OVERFLOW, "nobody went a minute ago");
    assert_ne!(resolve(17, 62), Workloads::OVERFLOW);
    assert!(!workloads.is_exported(first[0], at(62)), "what made room is not shown");
    assert_eq!(workloads.retired(at(62)), first[..2], "and the other tables hear of it");
    assert_eq!((workloads.stats().evicted, workloads.stats().overflowed), (2, 1));
}
