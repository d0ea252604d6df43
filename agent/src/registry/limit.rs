//! The cap on all series of a node together: the last bound, behind the caps on destinations and listeners.
//!
//! Above it the containers with the most series lose some, the small ones none: every container may have as many as
//! the same level allows, and the level is the highest that fits. A container keeps what describes it as a whole
//! first, and a destination is kept or left out with all of its metrics. Which ones does not depend on the order in
//! which they were added, so a series does not come and go from one snapshot to the next. What belongs to the node or
//! to the agent is never left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::snapshot::Value;
use super::{Family, Sample};

/// The label sets of one container, with the series that each makes; sets without labels come first.
type Sets = BTreeMap<(bool, u64), usize>;

/// Leaves out what is beyond `max` series; returns how many samples that were.
pub(super) fn enforce(families: &mut [Family], max: usize) -> u64 {
    let total: usize = families.iter().flat_map(|family| &family.samples).map(series).sum();
    if total <= max {
        return 0;
    }
    let mut owners: HashMap<u64, Sets> = HashMap::new();
    for sample in families.iter().flat_map(|family| &family.samples).filter(|sample| is_owned(sample)) {
        *owners.entry(sample.owner.digest()).or_default().entry(set(sample)).or_default() += series(sample);
    }
    let owned: usize = owners.values().flat_map(Sets::values).sum();
    let budget = max.saturating_sub(total - owned);
    let level = level(owners.values().map(|sets| sets.values().sum()).collect(), budget);
    let beyond: HashSet<(u64, (bool, u64))> = owners
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

fn set(sample: &Sample) -> (bool, u64) {
    (sample.own.iter().next().is_some(), sample.own.digest())
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
fn beyond(sets: Sets, level: usize) -> Vec<(bool, u64)> {
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
        let mut builder = SnapshotBuilder::default().limited_to(max);
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
