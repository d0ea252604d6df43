//! Label sets of flows, made once when a flow is first shown.

use std::collections::HashMap;
use std::sync::Arc;

use crate::registry::Labels;
use crate::state::{Direction, FlowKey, Flows, Peer};

/// Destination of everything beyond a workload's cap. No address looks like it.
pub const OVERFLOW: &str = "~overflow";

/// Labels of one flow.
#[derive(Clone, Debug)]
pub struct FlowLabels {
    /// `destination` and `actual_destination`, or `listen_addr`.
    pub full: Arc<Labels>,
    /// `destination` alone.
    pub destination: Arc<Labels>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct SeriesLabels {
    by_flow: HashMap<FlowKey, FlowLabels>,
}

impl SeriesLabels {
    /// The labels of a flow.
    pub fn of(&mut self, key: &FlowKey) -> &FlowLabels {
        self.by_flow.entry(*key).or_insert_with(|| labels(key))
    }

    /// Forgets flows that are gone.
    pub fn retain(&mut self, flows: &Flows) {
        self.by_flow.retain(|key, _| flows.contains(key));
    }
}

fn labels(key: &FlowKey) -> FlowLabels {
    let (destination, actual) = match key.peer {
        Peer::Address { destination, actual } => (destination.to_string(), actual.to_string()),
        Peer::Overflow => (OVERFLOW.to_owned(), String::new()),
    };
    match key.direction {
        Direction::Outbound => FlowLabels {
            destination: Labels::new([("destination", destination.clone())]),
            full: Labels::new([("destination", destination), ("actual_destination", actual)]),
        },
        Direction::Inbound => {
            let full = Labels::new([("listen_addr", destination)]);
            FlowLabels { destination: full.clone(), full }
        }
    }
}
