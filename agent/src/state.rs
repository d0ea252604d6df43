//! Tables: what is open, who talks to whom, who listens. Pure: time is an argument, nothing is read or sent.

mod connections;
mod flows;
mod listeners;
mod measurements;
mod round_trips;
mod totals;

pub use connections::{Connections, Limits, Stats};
pub use flows::{Direction, Flow, FlowKey, Flows, Peer};
pub use listeners::{Listener, Listeners};
pub use measurements::{DiskCounts, Measurements};
pub use round_trips::RoundTrips;
pub use totals::Totals;
