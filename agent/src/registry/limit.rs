//! The caps on the series of one container, and of a node's containers together: the last bound, behind those of the tables
//! on destinations and listeners.
//!
//! Above the node's cap the containers with the most series lose some, the small ones none: every container may have as many
//! as the same level allows, and the level is the highest that fits. A container keeps what describes it as a whole
//! first, then its parts, as volumes, then its peers; a destination is kept or left out with all of its metrics. Which ones
//! does not depend on the order in which they were added, so a series does not come and go from one snapshot to the next.
//! What belongs to the node or to the agent is never left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::check::Rejections;
use super::snapshot::Value;
use super::{Family, Sample};

/// Series that may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesCaps {
    /// Of one container.
    pub container: usize,
    /// Of everything together.
    pub node: usize,
}

/// What a set of labels is of: the fewer, the longer it is kept. Then its digest.
type Set = (u8, u64);

/// The label sets of one container, with the series that each makes.
type Sets = BTreeMap<Set, usize>;

/// Labels of what a container talks to, or is talked to on.
const OF_PEERS: [&str; 3] = ["destination", "destination_ip", "listen_addr"];

/// Leaves out what is beyond the caps; returns how many samples that were.
pub(super) fn enforce(families: &mut [Family], caps: SeriesCaps) -> Rejections {
    let mut left_out = Rejections::default();
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    for sample in owned(families) {
        *sizes.entry(sample.owner.digest()).or_default() += series(sample);
    }
    if sizes.into_values().any(|size| size > caps.container) {
        let owners = sets_by_owner(families);
        left_out.container_limit = leave_out(families, owners, caps.container);
    }
    let total: usize = families.iter().flat_map(|family| &family.samples).map(series).sum();
    if total > caps.node {
        let owners = sets_by_owner(families);
        let sizes: Vec<usize> = owners.values().map(|sets| sets.values().sum()).collect();
        let budget = caps.node.saturating_sub(total - sizes.iter().sum::<usize>());
        left_out.node_limit = leave_out(families, owners, level(sizes, budget));
    }
    left_out
}

/// Leaves out what each owner has above a level.
fn leave_out(families: &mut [Family], owners: HashMap<u64, Sets>, level: usize) -> u64 {
    let beyond: HashSet<(u64, Set)> = owners
        .into_iter()
        .flat_map(|(owner, sets)| beyond(sets, level).into_iter().map(move |set| (owner, set)))
        .collect();
    let mut left_out = 0;
    for family in families {
        let before = family.samples.len();
        family
            .samples
            .retain(|sample| !is_owned(sample) || !beyond.contains(&(sample.owner.digest(), set(sample))));
        left_out += before - family.samples.len();
    }
    left_out as u64
}

fn sets_by_owner(families: &[Family]) -> HashMap<u64, Sets> {
    let mut owners: HashMap<u64, Sets> = HashMap::new();
    for sample in owned(families) {
        *owners.entry(sample.owner.digest()).or_default().entry(set(sample)).or_default() += series(sample);
    }
    owners
}

fn owned(families: &[Family]) -> impl Iterator<Item = &Sample> {
    families.iter().flat_map(|family| &family.samples).filter(|sample| is_owned(sample))
}

/// Series that a sample is to Prometheus: a histogram has one per bucket, with that of `+Inf`, and two more.
fn series(sample: &Sample) -> usize {
    match &sample.value {
        Value::Number(_) => 1,
        Value::Histogram(histogram) => histogram.cumulative().count() + 3,
    }
}

fn is_owned(sample: &Sample) -> bool {
    sample.owner.iter().next().is_some()
}

fn set(sample: &Sample) -> Set {
    let own = &sample.own;
    let is_of_peer = || OF_PEERS.iter().any(|label| own.get(label).is_some());
    let rank = match own.iter().next() {
        None => 0,
        Some(_) => 1 + u8::from(is_of_peer()),
    };
    (rank, own.digest())
}

/// The highest level at which the sizes, each cut to it, fit in the budget together.
fn level(mut sizes: Vec<usize>, mut budget: usize) -> usize {
    sizes.sort_unstable();
    for (index, size) in sizes.iter().enumerate() {
        let rest = sizes.len() - index;
        if size.saturating_mul(rest) > budget {
            return budget / rest;
        }
        budget -= size;
    }
    usize::MAX
}

/// The sets that do not fit under the level.
fn beyond(sets: Sets, level: usize) -> Vec<Set> {
    let mut used = 0;
    sets.into_iter()
        .filter_map(|(set, size)| {
            used += size;
            (used > level).then_some(set)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::UnixMillis;
    use crate::registry::catalog::{agent, container, node, tcp};
    use crate::registry::{Labels, Snapshot, SnapshotBuilder};

    /// A snapshot with containers of so many destinations each, and the node's own series.
    fn snapshot(destinations: &[usize], max: usize, reverse: bool) -> Snapshot {
        limited(destinations, SeriesCaps { container: usize::MAX, node: max }, reverse)
    }

    fn limited(destinations: &[usize], caps: SeriesCaps, reverse: bool) -> Snapshot {
        let mut builder = SnapshotBuilder::default().limited_to(caps);
        builder.number(&node::UPTIME_SECONDS, &Labels::empty(), &Labels::empty(), 1.0);
        let mut order: Vec<(usize, usize)> = destinations.iter().copied().enumerate().collect();
        if reverse {
            order.reverse();
        }
        for (index, count) in order {
            let owner = Labels::new([("container_id", format!("/docker/{index}"))]);
            for number in 0..count {
                let own = Labels::new([("destination", format!("10.0.0.1:{number}"))]);
                builder.number(&tcp::FAILED_CONNECTS_TOTAL, &owner, &own, 1.0);
                builder.number(&tcp::ACTIVE_CONNECTIONS, &owner, &own, 1.0);
            }
            builder.number(&container::RESTARTS_TOTAL, &owner, &Labels::empty(), 1.0);
        }
        builder.build(UnixMillis(0), Labels::empty())
    }

    fn of(snapshot: &Snapshot, metric: &str, container: usize) -> usize {
        let id = format!("/docker/{container}");
        let family = snapshot.families.iter().find(|family| family.metric.name == metric);
        let is_its = |sample: &&Sample| sample.owner.get("container_id") == Some(&id);
        family.map_or(0, |family| family.samples.iter().filter(is_its).count())
    }

    #[test]
    fn below_the_cap_nothing_is_left_out() {
        // Each container has two series per destination and one more; the node has one.
        let snapshot = snapshot(&[3, 2], 13, false);
        assert_eq!(snapshot.rejections.node_limit, 0);
        assert_eq!(of(&snapshot, tcp::ACTIVE_CONNECTIONS.name, 0), 3);
    }

    #[test]
    fn the_largest_container_loses_destinations_and_the_small_one_none() {
        // 1 of the node, 5 of the small container, so 9 for the large one: itself and four destinations.
        let snapshot = snapshot(&[100, 2], 15, false);
        assert_eq!(of(&snapshot, tcp::ACTIVE_CONNECTIONS.name, 0), 4);
        assert_eq!(of(&snapshot, tcp::FAILED_CONNECTS_TOTAL.name, 0), 4);
        assert_eq!(of(&snapshot, container::RESTARTS_TOTAL.name, 0), 1);
        assert_eq!(of(&snapshot, tcp::ACTIVE_CONNECTIONS.name, 1), 2);
        assert_eq!(snapshot.rejections.node_limit, 2 * 96);
        let rejected = |family: &&Family| family.metric.name == agent::SERIES_REJECTED_TOTAL.name;
        let family = snapshot.families.iter().find(rejected).expect("the registry counts");
        let is_limit = |sample: &&Sample| sample.own.get("reason") == Some("node_limit");
        assert!(family.samples.iter().any(|sample| is_limit(&sample)));
    }

    #[test]
    fn a_container_loses_peers_first_then_its_parts_and_itself_last() {
        let shown = |max| {
            let caps = SeriesCaps { container: max, node: usize::MAX };
            let mut builder = SnapshotBuilder::default().limited_to(caps);
            let owner = Labels::new([("container_id", "/docker/0")]);
            for number in 0..10 {
                let own = Labels::new([("destination", format!("10.0.0.1:{number}"))]);
                builder.number(&tcp::FAILED_CONNECTS_TOTAL, &owner, &own, 1.0);
                let own = Labels::new([("kind", format!("{number}"))]);
                builder.number(&container::RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL, &owner, &own, 1.0);
            }
            builder.number(&container::RESTARTS_TOTAL, &owner, &Labels::empty(), 1.0);
            let snapshot = builder.build(UnixMillis(0), Labels::empty());
            let rejected = snapshot.rejections;
            assert_eq!((rejected.container_limit, rejected.node_limit), (21 - max as u64, 0));
            let pressure = &container::RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL;
            [&tcp::FAILED_CONNECTS_TOTAL, pressure, &container::RESTARTS_TOTAL]
                .map(|metric| of(&snapshot, metric.name, 0))
        };
        assert_eq!(shown(21), [10, 10, 1]);
        assert_eq!(shown(15), [4, 10, 1]);
        assert_eq!(shown(8), [0, 7, 1]);
        assert_eq!(shown(1), [0, 0, 1]);
    }

    #[test]
    fn the_node_is_kept_whatever_the_cap() {
        let snapshot = snapshot(&[2], 0, false);
        assert!(snapshot.families.iter().any(|family| family.metric.name == node::UPTIME_SECONDS.name));
        assert_eq!(of(&snapshot, container::RESTARTS_TOTAL.name, 0), 0);
    }

    fn shown(snapshot: &Snapshot) -> Vec<(String, Arc<Labels>, Arc<Labels>)> {
        let samples = snapshot.families.iter().flat_map(|family| {
            let name = family.metric.name.to_owned();
            family.samples.iter().map(move |sample| (name.clone(), sample.owner.clone(), sample.own.clone()))
        });
        let mut shown: Vec<_> = samples.collect();
        shown.sort_by_key(|(name, owner, own)| (name.clone(), owner.digest(), own.digest()));
        shown
    }

    proptest! {
        #[test]
        fn each_container_keeps_to_its_cap_and_the_others_notice_nothing(
            destinations in prop::collection::vec(0usize..40, 0..8),
            container in 1usize..60,
        ) {
            let snapshot = limited(&destinations, SeriesCaps { container, node: usize::MAX }, false);
            let mut left_out = 0;
            for (index, count) in destinations.iter().enumerate() {
                let metrics = [&tcp::FAILED_CONNECTS_TOTAL, &tcp::ACTIVE_CONNECTIONS, &container::RESTARTS_TOTAL];
                let [failed, active, restarts] = metrics.map(|metric| of(&snapshot, metric.name, index));
                let shown = failed + active + restarts;
                prop_assert!(shown <= container && restarts == 1 && failed == active);
                // A destination has two series.
                prop_assert!(failed == *count || shown + 2 > container);
                left_out += 2 * (count - failed) as u64;
            }
            prop_assert_eq!((snapshot.rejections.container_limit, snapshot.rejections.node_limit), (left_out, 0));
        }

        #[test]
        fn what_is_shown_fits_and_does_not_depend_on_the_order(
            destinations in prop::collection::vec(0usize..40, 0..8),
            max in 1usize..200,
        ) {
            let (forth, back) = (snapshot(&destinations, max, false), snapshot(&destinations, max, true));
            prop_assert_eq!(shown(&forth), shown(&back));
            let own = |family: &&Family| !family.metric.name.starts_with("sonde_agent_");
            let count: usize = forth.families.iter().filter(own).map(|family| family.samples.len()).sum();
            prop_assert!(count <= max);
            let all = 1 + destinations.iter().map(|count| 2 * count + 1).sum::<usize>();
            prop_assert_eq!(count as u64 + forth.rejections.node_limit, all as u64);
        }
    }
}
