//! Label sets of flows, failures and accept queues, made once when something is first shown.

use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::HashMap;

use crate::model::Failure;
use crate::registry::Labels;
use crate::state::{Connections, Direction, FailureKey, FlowKey, Names, Peer};

/// Destination of everything beyond the caps. No address looks like it.
pub const OVERFLOW: &str = "~overflow";

/// Labels of one flow.
#[derive(Clone, Debug)]
pub struct FlowLabels {
    /// `destination` and `actual_destination`, or `listen_addr`.
    pub full: Arc<Labels>,
    /// The same with `side="received"` and `side="sent"`, once a reset was.
    resets: Option<[Arc<Labels>; 2]>,
}

impl FlowLabels {
    /// Labels of resets received and of resets sent.
    pub fn resets(&mut self) -> &[Arc<Labels>; 2] {
        let with = |side| self.full.with("side", side);
        self.resets.get_or_insert_with(|| [with("received"), with("sent")])
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct SeriesLabels {
    by_flow: HashMap<FlowKey, FlowLabels>,
    destinations: HashMap<FailureKey, Arc<Labels>>,
    failures: HashMap<(FailureKey, Failure), Arc<Labels>>,
}

impl SeriesLabels {
    /// The labels of a flow.
    pub fn of(&mut self, key: &FlowKey, names: &Names) -> &mut FlowLabels {
        let new = || FlowLabels { full: labels(key, names), resets: None };
        self.by_flow.entry(*key).or_insert_with(new)
    }

    /// The labels of all failures of a destination.
    pub fn destination(&mut self, key: &FailureKey, names: &Names) -> &Arc<Labels> {
        let new = || Labels::new([("destination", peer(key.peer, names).0)]);
        self.destinations.entry(*key).or_insert_with(new)
    }

    /// The labels of a destination's failures for one reason.
    pub fn failure(&mut self, key: &FailureKey, names: &Names, reason: Failure) -> &Arc<Labels> {
        let new = || {
            let destination = ("destination", peer(key.peer, names).0);
            Labels::new([destination, ("reason", reason.as_str().to_owned())])
        };
        self.failures.entry((*key, reason)).or_insert_with(new)
    }

    /// Forgets what is gone, and the memory it took.
    pub fn retain(&mut self, tables: &Connections) {
        retain(&mut self.by_flow, |key| tables.flows().contains(key));
        retain(&mut self.destinations, |key| tables.failures().contains(key));
        retain(&mut self.failures, |(key, _)| tables.failures().contains(key));
    }
}

fn retain<K: Eq + Hash, V>(map: &mut HashMap<K, V>, is_there: impl Fn(&K) -> bool) {
    map.retain(|key, _| is_there(key));
    crate::state::table::shrink(map);
}

/// An address, or what stands for all those beyond the caps.
pub fn text(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| OVERFLOW.to_owned(), |address| address.to_string())
}

fn labels(key: &FlowKey, names: &Names) -> Arc<Labels> {
    let (destination, actual) = peer(key.peer, names);
    match key.direction {
        Direction::Outbound => Labels::new([("destination", destination), ("actual_destination", actual)]),
        Direction::Inbound => Labels::new([("listen_addr", destination)]),
    }
}

/// `destination` and `actual_destination`.
fn peer(peer: Peer, names: &Names) -> (String, String) {
    match peer {
        Peer::Address { destination, actual } => (destination.to_string(), actual.to_string()),
        Peer::Name { name, port } => {
            // A name that a flow has is never forgotten; a port alone would still be right.
            let text = names.text(name).map_or("", |text| text);
            (format!("{text}:{port}"), String::new())
        }
        Peer::Overflow => (OVERFLOW.to_owned(), String::new()),
    }
}
