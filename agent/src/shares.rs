//! How the series that a container may have are shared out among the tables that make them: one that fills every table stays
//! below `--max-series-per-container`, for each folds by itself what is beyond its share.
//!
//! What is left is for the series of the container as a whole and of its volumes, which are never folded: some hundred. The
//! registry leaves out what would be above all the same.

use crate::model::Failure;
use crate::state::{CONNECT_SECONDS, Caps};

/// A table's part.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Hundredths of the container's series.
    percent: usize,
    /// Series that a row makes at most.
    per_row: usize,
    /// Series of the rows that stand for everything beyond the share.
    overflow: usize,
}

/// One destination: the histogram of handshakes, two of resets, six numbers.
pub const OUTBOUND: usize = CONNECT_SECONDS.bounds().len() + 3 + 2 + 6;
/// One address that connections are accepted on: two of resets, five numbers.
pub const INBOUND: usize = 2 + 5;
/// One destination of failed attempts: all of them, and by reason.
const FAILED: usize = 1 + Failure::ALL.len();

const FLOWS: Share = Share { percent: 60, per_row: OUTBOUND, overflow: OUTBOUND + INBOUND };
const FAILURES: Share = Share { percent: 12, per_row: FAILED, overflow: FAILED };
/// Two of the smallest times, and none that stands for others.
const ROUND_TRIPS: Share = Share { percent: 8, per_row: 2, overflow: 0 };
/// Length and room of the queue, what was dropped, and that for want of room.
const BACKLOGS: Share = Share { percent: 6, per_row: 4, overflow: 4 };
const ADDRESSES: Share = Share { percent: 4, per_row: 1, overflow: 1 };
/// What no table makes.
const REST: usize = 10;

const ALL: [Share; 5] = [FLOWS, FAILURES, ROUND_TRIPS, BACKLOGS, ADDRESSES];

/// The smallest number that configuration takes.
pub const MIN_OF_CONTAINER: usize = 100;

const _: () = {
    let mut sum = REST;
    let mut index = 0;
    while index < ALL.len() {
        assert!(ALL[index].of(MIN_OF_CONTAINER) >= ALL[index].overflow, "overflows must fit into any share");
        sum += ALL[index].percent;
        index += 1;
    }
    assert!(sum == 100, "shares are parts of one whole");
};

impl Share {
    /// Series of a container's `max`.
    const fn of(self, max: usize) -> usize {
        max / 100 * self.percent + max % 100 * self.percent / 100
    }

    /// Rows of a container's share; those of the node are given.
    const fn caps(self, max_of_container: usize, node: usize) -> Caps {
        let workload = self.of(max_of_container).saturating_sub(self.overflow) / self.per_row;
        Caps { workload, node }
    }
}

/// Rows that each table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Destinations, and likewise addresses that connections are accepted on.
    pub flows: Caps,
    /// Destinations of failed attempts.
    pub failures: Caps,
    /// Remote addresses with round-trip times.
    pub round_trips: Caps,
    /// Accept queues.
    pub backlogs: Caps,
    /// Addresses listened on.
    pub addresses: Caps,
}

impl Shares {
    /// Of so many series of one container, at least [`MIN_OF_CONTAINER`], and of all together. The node's rows are those of
    /// one table as if there were no other: what all make together, the registry bounds.
    pub const fn new(max_of_container: usize, max_of_node: usize) -> Self {
        let destinations = max_of_node / OUTBOUND;
        Self {
            flows: FLOWS.caps(max_of_container, destinations),
            failures: FAILURES.caps(max_of_container, destinations),
            round_trips: ROUND_TRIPS.caps(max_of_container, destinations),
            backlogs: BACKLOGS.caps(max_of_container, destinations),
            addresses: ADDRESSES.caps(max_of_container, max_of_node / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_tables_full_stay_below_the_cap(max in MIN_OF_CONTAINER..1_000_000) {
            let shares = Shares::new(max, usize::MAX);
            let rows = [shares.flows, shares.failures, shares.round_trips, shares.backlogs, shares.addresses];
            let full = |(share, caps): (Share, Caps)| caps.workload * share.per_row + share.overflow;
            let series: usize = ALL.into_iter().zip(rows).map(full).sum();
            prop_assert!(series <= max - max * REST / 100, "{series} of {max}");
            // And none is left unused that a row would fit in.
            let rounded: usize = ALL.iter().map(|share| share.per_row + 1).sum();
            prop_assert!(series + rounded + max * REST / 100 >= max);
        }
    }

    #[test]
    fn by_default_a_container_has_hundreds_of_destinations() {
        let shares = Shares::new(10_000, 200_000);
        let rows = [shares.flows, shares.failures, shares.round_trips, shares.backlogs, shares.addresses];
        assert_eq!(rows.map(|caps| caps.workload), [271, 119, 400, 149, 399]);
        assert_eq!(shares.flows.node, 9_090);
    }
}
