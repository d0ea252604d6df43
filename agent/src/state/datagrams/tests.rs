use proptest::prelude::*;

use super::*;
use crate::model::HostPid;

const A: WorkloadIx = WorkloadIx(1);
const B: WorkloadIx = WorkloadIx(2);

fn owner(tgid: u32) -> DatagramOwner {
    DatagramOwner { cgroup_v2: 1, started_ns: 5, tgid }
}

fn sent(bytes: u64) -> Counted {
    Counted { sent_bytes: bytes, sent: bytes / 10, ..Counted::default() }
}

fn counted(bytes: u64) -> Traffic {
    Traffic { counted: sent(bytes), is_counted: true, has_errors: true, dropped: None }
}

/// A process of the host that holds a socket.
fn host(workload: WorkloadIx, pid: u32) -> Claim {
    Claim { workload: Some(workload), is_managed: false, pid: HostPid(pid) }
}

fn of(table: &Datagrams, workload: WorkloadIx) -> Traffic {
    table.iter().find(|(ix, _)| *ix == workload).map(|(_, traffic)| *traffic).unwrap_or_default()
}

#[test]
fn what_is_new_since_the_last_reading_counts() {
    let mut table = Datagrams::default();
    for (now, bytes) in [(1, 100), (2, 250), (3, 250)] {
        table.begin_reading(BootNanos(now));
        table.count(owner(7), sent(bytes), || Some(A));
        table.count(owner(8), sent(10), || Some(A));
        assert!(table.finish_reading(|_| true).is_empty());
    }
    assert_eq!(of(&table, A).counted, sent(260));
    assert_eq!(of(&table, A).dropped, None, "no socket was seen");
}

#[test]
fn the_last_word_of_a_process_is_heard() {
    let mut table = Datagrams::default();
    table.begin_reading(BootNanos(1));
    table.count(owner(7), sent(100), || Some(A));
    assert!(table.finish_reading(|_| false).is_empty(), "it may have sent between reading and dying");
    table.begin_reading(BootNanos(2));
    table.count(owner(7), sent(130), || panic!("known"));
    assert_eq!(table.finish_reading(|_| false), [owner(7)]);
    assert_eq!(of(&table, A).counted, sent(130));
    assert!(table.is_empty());
}

#[test]
fn a_reading_that_ends_early_forgets_nobody() {
    let mut table = Datagrams::default();
    table.begin_reading(BootNanos(1));
    table.count(owner(7), sent(100), || Some(A));
    table.finish_reading(|_| false);
    table.begin_reading(BootNanos(2));
    assert!(table.finish_reading(|_| false).is_empty());
    table.begin_reading(BootNanos(3));
    table.count(owner(7), sent(120), || None);
    assert_eq!(table.finish_reading(|_| false), [owner(7)]);
    assert_eq!(of(&table, A).counted, sent(120));
}

#[test]
fn an_owner_without_a_place_in_the_map_goes_with_its_process() {
    let mut table = Datagrams::default();
    table.announce(owner(7), Some(A));
    assert_eq!(table.announced(), 1);
    for now in 1..3 {
        table.begin_reading(BootNanos(now));
        assert!(table.finish_reading(|_| false).is_empty(), "there is nothing to forget");
    }
    assert!(table.is_empty() && table.announced() == 0);
}

#[test]
fn a_number_used_again_is_another_process() {
    let mut table = Datagrams::default();
    table.begin_reading(BootNanos(1));
    table.count(owner(7), sent(100), || Some(A));
    table.count(DatagramOwner { started_ns: 6, ..owner(7) }, sent(50), || Some(B));
    assert_eq!((of(&table, A).counted, of(&table, B).counted), (sent(100), sent(50)));
}

#[test]
fn a_silent_cgroup_is_forgotten_and_a_speaking_one_is_not() {
    let mut table = Datagrams::default();
    let cgroup = owner(0);
    let mut read = |now: u64, bytes: u64| {
        table.begin_reading(BootNanos(now));
        table.count(cgroup, sent(bytes), || Some(A));
        table.finish_reading(|_| panic!("it has no process"))
    };
    assert!(read(0, 10).is_empty());
    assert!(read(SILENCE_NS, 10).is_empty(), "noticed");
    assert!(read(SILENCE_NS + 1, 20).is_empty(), "it spoke");
    assert!(read(3 * SILENCE_NS, 20).is_empty(), "noticed again");
    assert_eq!(read(3 * SILENCE_NS + 1, 20), [cgroup]);
    assert_eq!(of(&table, A).counted, sent(20));
}

#[test]
fn messages_of_nobody_are_counted_as_such() {
    let mut table = Datagrams::default();
    table.begin_reading(BootNanos(1));
    table.count(owner(0), sent(100), || None);
    table.count(owner(0), sent(120), || None);
    assert_eq!((table.stats().unowned, table.iter().count()), (12, 0));
    table.count(owner(0), sent(150), || Some(A));
    assert_eq!(of(&table, A).counted, sent(30), "from then on");
}

#[test]
fn drops_from_before_the_agent_are_a_baseline() {
    let mut table = Datagrams::default();
    table.closed(9, 4, Some(A));
    table.found(1, 100, host(A, 1), BootNanos(1));
    table.finish_pass(BootNanos(1));
    table.found(1, 103, host(A, 1), BootNanos(2));
    table.found(2, 5, host(A, 1), BootNanos(2));
    table.finish_pass(BootNanos(2));
    assert_eq!(of(&table, A).dropped, Some(8));
}

#[test]
fn a_socket_that_closes_counts_once_whatever_comes_first() {
    let mut table = Datagrams::default();
    table.finish_pass(BootNanos(1));
    table.found(1, 3, host(A, 1), BootNanos(2));
    table.found(1, 3, host(B, 0), BootNanos(2));
    table.finish_pass(BootNanos(2));
    table.closed(1, 7, Some(B));
    assert_eq!(
        (of(&table, A).dropped, of(&table, B).dropped),
        (Some(7), None),
        "who closes it need not own it"
    );
    table.closed(2, 11, Some(B));
    assert_eq!(of(&table, B).dropped, Some(11), "one that no pass saw");
    table.found(1, 2, host(A, 1), BootNanos(3));
    table.finish_pass(BootNanos(3));
    assert_eq!(of(&table, A).dropped, Some(9), "its number belongs to another one now");
}

#[test]
fn a_socket_whose_owner_is_found_later_counts_from_then_on() {
    let mut table = Datagrams::default();
    table.finish_pass(BootNanos(1));
    for (drops, claim, pass) in [(3, Claim::default(), 2), (5, host(A, 1), 3), (9, Claim::default(), 4)] {
        table.found(1, drops, claim, BootNanos(pass));
        table.finish_pass(BootNanos(pass));
    }
    assert_eq!(of(&table, A).dropped, Some(6), "it stays whose it was while nobody is known");
}

#[test]
fn a_socket_that_systemd_opened_is_the_services_as_long_as_that_holds_it() {
    let (systemd, service) = (host(A, 1), Claim { is_managed: true, ..host(B, 700) });
    for both in [[systemd, service], [service, systemd]] {
        let mut table = Datagrams::default();
        table.finish_pass(BootNanos(1));
        let mut dropped = |holders: &[Claim], drops, pass| {
            holders.iter().for_each(|claim| table.found(1, drops, *claim, BootNanos(pass)));
            table.finish_pass(BootNanos(pass));
            (of(&table, A).dropped, of(&table, B).dropped)
        };
        assert_eq!(dropped(&both, 3, 2), (None, Some(3)));
        assert_eq!(dropped(&[systemd], 5, 3), (Some(2), Some(3)), "it was stopped");
        assert_eq!(dropped(&both, 9, 4), (Some(2), Some(7)));
        table.closed(1, 10, Some(A));
        assert_eq!(of(&table, B).dropped, Some(8), "systemd has closed it at last");
    }
}

#[test]
fn workloads_merge_and_retire() {
    let mut table = Datagrams::default();
    table.finish_pass(BootNanos(1));
    table.begin_reading(BootNanos(1));
    table.count(owner(7), sent(100), || Some(A));
    table.count(owner(8), sent(50), || Some(B));
    table.found(1, 3, host(A, 1), BootNanos(2));
    table.finish_pass(BootNanos(2));
    table.merge_workload(A, B);
    table.count(owner(7), sent(110), || panic!("known"));
    table.closed(1, 4, None);
    assert_eq!(of(&table, B), Traffic { dropped: Some(4), ..counted(160) });
    table.drop_workloads(&[B]);
    table.count(owner(7), sent(130), || Some(A));
    assert_eq!(table.iter().collect::<Vec<_>>(), [(A, &counted(20))]);
}

#[test]
fn a_million_short_lived_processes_leave_nothing() {
    let mut table = Datagrams::default();
    let mut largest = 0;
    for round in 0..1000u32 {
        for process in 0..1000 {
            table.announce(owner(round * 1000 + process + 1), Some(A));
        }
        table.begin_reading(BootNanos(u64::from(round)));
        for process in 0..1000 {
            table.count(owner(round * 1000 + process + 1), sent(10), || None);
        }
        for process in 0..if round > 0 { 1000 } else { 0 } {
            table.count(owner((round - 1) * 1000 + process + 1), sent(10), || None);
        }
        table.finish_reading(|_| false);
        largest = largest.max(table.len());
    }
    assert_eq!(of(&table, A).counted, sent(10_000_000));
    assert!(largest <= 2000, "{largest} entries");
}

proptest! {
    #[test]
    fn each_drop_at_a_shared_socket_is_one_owners(
        passes in prop::collection::vec((prop::collection::vec((1..4_u32, 1..6_u32), 1..5), 0..10_u64), 1..12),
    ) {
        let mut table = Datagrams::default();
        let (mut count, mut expected) = (0, [0; 4]);
        for (number, (holders, new)) in passes.into_iter().enumerate() {
            count += new;
            for (of, pid) in &holders {
                let claim = Claim { is_managed: *of == 3, ..host(WorkloadIx(*of), *pid) };
                table.found(1, count, claim, BootNanos(number as u64 + 1));
            }
            table.finish_pass(BootNanos(number as u64 + 1));
            let best = holders.iter().max_by_key(|(of, pid)| (*of == 3, *pid, *of)).unwrap().0;
            // What is there at first is a baseline.
            expected[best as usize] += if number > 0 { new } else { 0 };
            let dropped = [0, 1, 2, 3].map(|ix| of(&table, WorkloadIx(ix)).dropped.unwrap_or(0));
            prop_assert_eq!(dropped, expected);
        }
    }
}

#[test]
fn what_found_no_room_is_not_counted_from_its_beginning() {
    let mut table = Datagrams::default();
    let last = SOCKETS_MAX as u64;
    (0..=last).for_each(|inode| table.found(inode, 50, host(A, 1), BootNanos(1)));
    table.finish_pass(BootNanos(1));
    table.closed(last, 53, Some(A));
    table.closed(0, 52, Some(A));
    assert_eq!(of(&table, A).dropped, Some(2));
}
