//! One open connection: what was counted of it, and for whom.

use std::net::SocketAddr;

use crate::model::{BootNanos, Counters, NetnsId, Role};
use crate::state::{Direction, FlowKey, Totals};

/// What became of a connection's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A pass saw the connection; the event is still in the ring, or was lost.
    Unseen,
    /// Seen, and to be counted as soon as the owner is known.
    Pending {
        /// Duration of the handshake, nanoseconds; 0 when not seen.
        connect_ns: u64,
    },
    /// Counted, or before the agent's time.
    Counted,
}

/// An entry of the table of open connections.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it counts, as soon as its owner is known.
    pub flow: Option<FlowKey>,
    /// Whether it has a flow at all.
    pub is_told: bool,
    /// What the node's totals have of it.
    pub counted: Counters,
    /// What its flow has of it; waits for the flow where none is known yet.
    pub credited: Counters,
    /// Whether its flow was told once, be it that nothing was new: traffic that is measured is not absent.
    pub is_credited: bool,
    /// What became of its start.
    pub start: Start,
    /// Own address.
    pub local: SocketAddr,
    /// Who is at the other end, after address translation where that is known.
    pub actual: SocketAddr,
    /// Network namespace.
    pub netns: NetnsId,
    /// Who opened it.
    pub role: Role,
    /// Whether it is older than the agent.
    pub adopted: bool,
    /// When it was last seen.
    pub seen: BootNanos,
}

impl Connection {
    /// Which side of the workload it is on.
    pub fn direction(&self) -> Direction {
        direction(self.role)
    }

    /// Adds to the totals what is new.
    pub fn add_to(&mut self, totals: &mut dyn Totals, now: &Counters) {
        let before = self.counted;
        self.counted = before.max(now);
        let (sent, received) = (self.counted.sent - before.sent, self.counted.received - before.received);
        if sent > 0 || received > 0 {
            totals.add(self.actual.ip(), sent, received);
        }
    }
}

/// What is not known to be accepted counts as opened here.
pub const fn direction(role: Role) -> Direction {
    match role {
        Role::Inbound => Direction::Inbound,
        Role::Outbound | Role::Unknown => Direction::Outbound,
    }
}
