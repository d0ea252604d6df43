//! Overflows of accept queues: of what listeners dropped, what they dropped because their queue was full.
//!
//! The kernel counts overflows per network namespace (`LINUX_MIB_LISTENOVERFLOWS`) and drops, for whatever reason, per
//! socket (`sk_drops`); each overflow is also a drop of its socket (`tcp_conn_request` in net/ipv4/tcp_input.c,
//! `tcp_v4_syn_recv_sock` in net/ipv4/tcp_ipv4.c). So a namespace is only asked after one of its listeners dropped
//! something, and what is new goes to the listeners that did, never more than each dropped. It is exact unless several
//! of one namespace dropped between two looks, not all of it for want of room: then each gets in proportion.

use std::collections::{BTreeMap, HashSet};

use foldhash::HashMap;

use super::backlogs::BacklogKey;
use super::listeners::Listeners;
use crate::model::{HostPid, NetnsId, WorkloadIx};

/// Namespaces asked per pass; the others have their turn in the next ones.
const QUESTIONS_MAX: usize = 64;
/// Processes by which a namespace may be asked.
const HOLDERS_MAX: usize = 4;

/// A namespace to ask, and processes that may be in it.
pub type Question = (NetnsId, Vec<HostPid>);

/// What is known of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    /// Its count at the last look; `None` before the first.
    counted: Option<u64>,
    /// Overflows of the last look of which no drop was known yet, since that came a moment later.
    carried: u64,
    /// What listeners dropped since then.
    dropped: BTreeMap<BacklogKey, u64>,
    holders: Vec<HostPid>,
    /// How often it was asked: whoever was asked least is next.
    asked: u32,
}

/// All namespaces with listeners; not more than there are listeners, or were at the last pass.
#[derive(Debug, Default)]
pub struct Overflows {
    namespaces: HashMap<NetnsId, Namespace>,
}

impl Overflows {
    /// Notes that a listener dropped something. Its namespace is unknown (0) where the plain tracepoint tells of it.
    pub fn dropped(&mut self, netns: NetnsId, key: BacklogKey, count: u64) {
        if netns != NetnsId(0) && count > 0 {
            *self.namespaces.entry(netns).or_default().dropped.entry(key).or_default() += count;
        }
    }

    /// Whether overflows of a namespace are known.
    pub fn measures(&self, netns: NetnsId) -> bool {
        self.namespaces.get(&netns).is_some_and(|namespace| namespace.counted.is_some())
    }

    /// Which namespaces to ask at the end of a pass over all listeners: new ones, for what is before the agent's time,
    /// and those where something was dropped. Forgets those without either.
    pub fn questions(&mut self, listeners: &Listeners) -> Vec<Question> {
        let mut listened = HashSet::new();
        for listener in listeners.iter() {
            let (Some(pid), Some(_)) = (listener.pid.filter(|pid| pid.0 != 0), listener.backlog) else {
                continue;
            };
            if listener.netns == NetnsId(0) {
                continue;
            }
            let namespace = self.namespaces.entry(listener.netns).or_default();
            if listened.insert(listener.netns) {
                namespace.holders.clear();
            }
            if namespace.holders.len() < HOLDERS_MAX && !namespace.holders.contains(&pid) {
                namespace.holders.push(pid);
            }
        }
        self.namespaces.retain(|netns, namespace| listened.contains(netns) || !namespace.dropped.is_empty());
        let mut asked: Vec<(u32, NetnsId)> = Vec::new();
        for (netns, namespace) in &mut self.namespaces {
            if namespace.counted.is_none() || !namespace.dropped.is_empty() {
                asked.push((namespace.asked, *netns));
            } else {
                namespace.carried = 0;
            }
        }
        asked.sort_unstable_by_key(|(times, netns)| (*times, netns.0));
        asked.truncate(QUESTIONS_MAX);
        asked
            .into_iter()
            .filter_map(|(_, netns)| Some((netns, self.namespaces.get(&netns)?.holders.clone())))
            .collect()
    }

    /// Takes a namespace's count, or that nobody could tell it; returns who overflowed how often.
    pub fn answer(&mut self, netns: NetnsId, total: Option<u64>) -> Vec<(BacklogKey, u64)> {
        let Some(namespace) = self.namespaces.get_mut(&netns) else { return Vec::new() };
        namespace.asked = namespace.asked.saturating_add(1);
        let dropped = std::mem::take(&mut namespace.dropped);
        let Some(total) = total else { return Vec::new() };
        let sum: u64 = dropped.values().sum();
        let (pool, new) = match namespace.counted.replace(total) {
            // The number of a namespace that is gone is given to a newer one, which begins at zero.
            Some(before) if before <= total => (namespace.carried + (total - before), total - before),
            // A namespace as young as its listeners. Of an older one the drops are known since they listen, at most.
            _ => (total.min(sum), 0),
        };
        let overflows = pool.min(sum);
        namespace.carried = (pool - overflows).min(new);
        shares(&dropped, overflows, sum)
    }

    /// Moves what was dropped to the rows that became of its rows.
    pub fn rename(&mut self, moved: &HashMap<BacklogKey, BacklogKey>) {
        for namespace in self.namespaces.values_mut() {
            if namespace.dropped.keys().any(|key| moved.contains_key(key)) {
                for (key, count) in std::mem::take(&mut namespace.dropped) {
                    *namespace.dropped.entry(*moved.get(&key).unwrap_or(&key)).or_default() += count;
                }
            }
        }
    }

    /// Forgets what workloads dropped that are gone.
    pub fn forget(&mut self, gone: &HashSet<WorkloadIx>) {
        for namespace in self.namespaces.values_mut() {
            namespace.dropped.retain(|key, _| !gone.contains(&key.workload));
        }
    }

    /// Entries that memory is held for.
    pub fn capacity(&self) -> usize {
        self.namespaces.capacity()
    }
}

/// Gives `overflows` of `sum` drops to those who dropped, in proportion, none more than it dropped.
fn shares(dropped: &BTreeMap<BacklogKey, u64>, overflows: u64, sum: u64) -> Vec<(BacklogKey, u64)> {
    let (mut seen, mut given) = (0_u64, 0_u64);
    let share = |(key, count): (&BacklogKey, &u64)| {
        seen += count;
        let due = u128::from(seen) * u128::from(overflows) / u128::from(sum);
        // Not more than `overflows`, which fits.
        let due = u64::try_from(due).unwrap_or(overflows);
        let own = due - given;
        given = due;
        (*key, own)
    };
    dropped.iter().map(share).filter(|(_, own)| *own > 0).collect()
}

#[cfg(test)]
mod tests;
