//! Tables: what is open, who talks to whom, who listens. Pure: time is an argument, nothing is read or sent.

mod backlogs;
mod connections;
mod datagrams;
mod failures;
mod flows;
mod latencies;
mod limits;
mod listeners;
mod measurements;
mod names;
mod overflows;
mod round_trips;
pub mod table;
mod totals;

pub use backlogs::{BacklogKey, Backlogs, Drops};
pub use connections::Connections;
pub use datagrams::{Datagrams, Stats as DatagramStats, Traffic};
pub use failures::{FailureCounts, FailureKey, Failures};
pub use flows::{CONNECT_SECONDS, Direction, Flow, FlowKey, Flows, Peer};
pub use latencies::Latencies;
pub use limits::{Limits, Stats};
pub use listeners::{Listener, Listeners};
pub use measurements::{DiskCounts, Measurements};
pub use names::{NAMES_MAX, Names, Stats as NameStats};
pub use round_trips::RoundTrips;
pub use table::{Caps, Folded};
pub use totals::Totals;
