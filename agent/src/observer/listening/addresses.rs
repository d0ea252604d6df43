//! The addresses that workloads listen on, or did a while ago, in the shares of a bounded table: one wildcard may stand for
//! 64 of them.

use std::collections::HashSet;
use std::time::Duration;

use crate::model::{BootNanos, WorkloadIx};
use crate::state::table::{Row, Table};
use crate::state::{BacklogKey, Caps, Folded};

/// One row per workload and address, though several sockets may share an address (`SO_REUSEPORT`).
#[derive(Debug)]
pub struct Addresses {
    rows: Table<BacklogKey, Seen>,
    /// How long one is remembered on which nobody listens any more.
    keep: Duration,
}

/// When somebody was last seen to listen.
#[derive(Debug, Default)]
struct Seen(BootNanos);

impl Row for Seen {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.max(other.0);
    }
}

impl Addresses {
    /// None yet.
    pub fn new(caps: Caps, keep: Duration) -> Self {
        Self { rows: Table::new(caps), keep }
    }

    /// Takes the addresses on which somebody listens at `now`. What is still there keeps its row before anything new gets
    /// one, and what closed gives its row to what is new.
    pub fn update(&mut self, open: &[BacklogKey], now: BootNanos) {
        let keep = u64::try_from(self.keep.as_nanos()).unwrap_or(u64::MAX);
        self.rows.drop_idle(now.before(keep));
        for key in open {
            if self.rows.contains(key) {
                self.rows.at(*key, now).0 = now;
            }
        }
        self.rows.make_room(open, now);
        for key in open {
            let key = self.rows.admit(*key);
            self.rows.at(key, now).0 = now;
        }
    }

    /// Forgets all of some workloads.
    pub fn drop_workloads(&mut self, workloads: &HashSet<WorkloadIx>) {
        self.rows.drop_workloads(workloads);
    }

    /// All of them, and whether somebody listened at `now`.
    pub fn iter(&self, now: BootNanos) -> impl Iterator<Item = (&BacklogKey, bool)> {
        self.rows.iter().map(move |(key, seen)| (key, seen.0 >= now))
    }

    /// How often an address had no row of its own.
    pub fn folded(&self) -> Folded {
        self.rows.folded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_nanos(100);

    fn key(workload: u32, port: u16) -> BacklogKey {
        let address = Some(([127, 0, 0, 1], port).into());
        BacklogKey { workload: WorkloadIx(workload), address }
    }

    /// Workloads and ports, 0 for all that have no row, with whether somebody listens.
    fn shown(addresses: &Addresses, now: u64) -> Vec<(u32, u16, bool)> {
        let port = |key: &BacklogKey| key.address.map_or(0, |address| address.port());
        let all = addresses.iter(BootNanos(now));
        let mut all: Vec<_> = all.map(|(key, is_open)| (key.workload.0, port(key), is_open)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn an_address_that_closed_is_shown_until_it_is_forgotten() {
        let mut addresses = Addresses::new(Caps { workload: 10, node: 10 }, KEEP);
        let mut at = |now, open: &[BacklogKey]| {
            addresses.update(open, BootNanos(now));
            shown(&addresses, now)
        };
        assert_eq!(at(1000, &[key(1, 80), key(1, 81), key(1, 80)]), [(1, 80, true), (1, 81, true)]);
        assert_eq!(at(1050, &[key(1, 81)]), [(1, 80, false), (1, 81, true)]);
        assert_eq!(at(1100, &[key(1, 80)]), [(1, 80, true), (1, 81, false)], "it opened again");
        assert_eq!(at(1151, &[key(1, 80)]), [(1, 80, true)]);
        addresses.drop_workloads(&HashSet::from([WorkloadIx(1)]));
        assert_eq!(shown(&addresses, 1151), []);
    }

    #[test]
    fn an_address_that_closed_gives_its_place_to_a_new_one() {
        let mut addresses = Addresses::new(Caps { workload: 2, node: 4 }, KEEP);
        let mut at = |now, open: &[BacklogKey]| {
            addresses.update(open, BootNanos(now));
            let folded = addresses.folded();
            (shown(&addresses, now), (folded.workload, folded.node))
        };
        let first = at(1000, &[key(1, 80), key(1, 81), key(2, 90)]).0;
        assert_eq!(first, [(1, 80, true), (1, 81, true), (2, 90, true)]);
        let closed_elsewhere = vec![(1, 81, true), (1, 82, true), (2, 90, false)];
        assert_eq!(at(1010, &[key(1, 81), key(1, 82)]), (closed_elsewhere, (0, 0)));
        let over = vec![(1, 0, true), (1, 81, true), (1, 82, true), (2, 90, false)];
        assert_eq!(at(1020, &[key(1, 81), key(1, 82), key(1, 83)]), (over, (1, 0)));
        let node = at(1030, &[key(1, 81), key(1, 82), key(2, 91), key(3, 70)]).0;
        assert_eq!(node, [(1, 81, true), (1, 82, true), (2, 91, true), (3, 70, true)]);
    }
}
