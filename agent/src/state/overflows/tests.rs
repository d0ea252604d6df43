use proptest::prelude::*;

use super::*;
use crate::model::{Backlog, BootNanos};
use crate::state::Listener;

const NETNS: NetnsId = NetnsId(5);

fn key(workload: u32, port: u16) -> BacklogKey {
    BacklogKey { workload: WorkloadIx(workload), address: Some(([0, 0, 0, 0], port).into()) }
}

fn listener(netns: NetnsId, pid: u32) -> Listener {
    Listener {
        claim: None,
        workload: Some(WorkloadIx(1)),
        pid: Some(HostPid(pid)),
        netns,
        address: ([0, 0, 0, 0], 80).into(),
        backlog: Some(Backlog { length: 0, max: 1, drops: 0 }),
        counted_drops: 0,
        seen: BootNanos(0),
        shown: true,
    }
}

fn listening(holders: &[(NetnsId, u32)]) -> Listeners {
    let mut listeners = Listeners::default();
    for (sock, (netns, pid)) in (1..).zip(holders) {
        listeners.insert(sock, listener(*netns, *pid));
    }
    listeners
}

/// One pass: these drops, then the answer; returns what became of it.
fn pass(overflows: &mut Overflows, dropped: &[(BacklogKey, u64)], total: u64) -> Vec<(BacklogKey, u64)> {
    for (key, count) in dropped {
        overflows.dropped(NETNS, *key, *count);
    }
    let asked = overflows.questions(&listening(&[(NETNS, 7)]));
    asked.into_iter().flat_map(|(netns, _)| overflows.answer(netns, Some(total))).collect()
}

#[test]
fn what_is_before_the_agents_time_is_a_baseline_and_drops_for_other_reasons_are_none() {
    let mut overflows = Overflows::default();
    let (a, b) = (key(1, 80), key(2, 81));
    assert_eq!(pass(&mut overflows, &[], 100), []);
    assert!(overflows.measures(NETNS) && !overflows.measures(NetnsId(6)));
    assert_eq!(pass(&mut overflows, &[(a, 5)], 105), [(a, 5)]);
    assert_eq!(pass(&mut overflows, &[(a, 5)], 105), [], "nothing overflowed");
    assert_eq!(pass(&mut overflows, &[(a, 3), (b, 4)], 112), [(a, 3), (b, 4)], "all of it");
    assert_eq!(pass(&mut overflows, &[(a, 3), (b, 9)], 116), [(a, 1), (b, 3)], "a third of it");
}

#[test]
fn a_namespace_as_young_as_its_listeners_is_counted_from_zero() {
    let a = key(1, 80);
    assert_eq!(pass(&mut Overflows::default(), &[(a, 5)], 4), [(a, 4)]);
    assert_eq!(pass(&mut Overflows::default(), &[(a, 5)], 1000), [(a, 5)], "not more than it dropped");
    let mut overflows = Overflows::default();
    pass(&mut overflows, &[(a, 9)], 9);
    assert_eq!(pass(&mut overflows, &[(a, 2)], 2), [(a, 2)], "another namespace of this number");
}

#[test]
fn an_overflow_may_be_seen_one_pass_before_its_drop_and_not_earlier() {
    let mut overflows = Overflows::default();
    let a = key(1, 80);
    pass(&mut overflows, &[], 0);
    assert_eq!(pass(&mut overflows, &[(a, 2)], 5), [(a, 2)]);
    assert_eq!(pass(&mut overflows, &[(a, 4)], 6), [(a, 4)], "three of them were seen before");
    assert_eq!(pass(&mut overflows, &[(a, 1)], 9), [(a, 1)]);
    assert_eq!(pass(&mut overflows, &[], 9), []);
    assert_eq!(pass(&mut overflows, &[(a, 2)], 9), [], "those two had no drop of a known listener");
}

#[test]
fn only_who_dropped_is_asked_and_everyone_has_a_turn() {
    let mut overflows = Overflows::default();
    let all: Vec<(NetnsId, u32)> = (1..=100).map(|number| (NetnsId(number), number)).collect();
    let listeners = listening(&all);
    let mut seen = HashSet::new();
    for _ in 0..2 {
        let asked = overflows.questions(&listeners);
        assert_eq!(asked.len(), 64);
        for (netns, holders) in asked {
            assert_eq!(holders, [HostPid(netns.0)]);
            // Nobody can tell: it is asked again, after all others.
            overflows.answer(netns, None);
            seen.insert(netns);
        }
    }
    assert_eq!(seen.len(), 100);
    for number in 1..=100 {
        overflows.answer(NetnsId(number), Some(1));
    }
    assert_eq!(overflows.questions(&listeners), []);
    overflows.dropped(NetnsId(9), key(1, 80), 1);
    overflows.dropped(NetnsId(0), key(1, 80), 1);
    assert_eq!(overflows.questions(&listeners), [(NetnsId(9), vec![HostPid(9)])]);
    // The last look at a namespace whose listener is gone.
    assert_eq!(overflows.questions(&Listeners::default()), [(NetnsId(9), vec![HostPid(9)])]);
    assert_eq!(overflows.answer(NetnsId(9), Some(2)), [(key(1, 80), 1)]);
    assert_eq!(overflows.questions(&Listeners::default()), []);
    assert!(overflows.namespaces.is_empty());
}

#[test]
fn what_waits_follows_its_workload() {
    let mut overflows = Overflows::default();
    let (old, new, gone) = (key(1, 80), key(2, 80), key(3, 80));
    for key in [old, new, gone] {
        overflows.dropped(NETNS, key, 2);
    }
    overflows.rename(&HashMap::from_iter([(old, new)]));
    overflows.forget(&HashSet::from([WorkloadIx(3)]));
    assert_eq!(pass(&mut overflows, &[], 9), [(new, 4)]);
}

proptest! {
    #[test]
    fn nobody_overflows_more_than_it_dropped_and_all_is_given(
        counts in prop::collection::vec(1_u64..1_000_000_000_000, 1..20),
        part in 0_u64..=1000,
    ) {
        let dropped: BTreeMap<BacklogKey, u64> =
            (1..).zip(&counts).map(|(port, count)| (key(1, port), *count)).collect();
        let sum: u64 = counts.iter().sum();
        let overflows = sum / 1000 * part;
        let given = shares(&dropped, overflows, sum);
        prop_assert_eq!(given.iter().map(|(_, own)| own).sum::<u64>(), overflows);
        prop_assert!(given.iter().all(|(key, own)| own <= &dropped[key]));
    }
}
