//! Flows: per workload and peer, the counters that become series.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::table::{Key, Row, Table};
use crate::model::{Buckets, Counters, End, Histogram, NameId, TcpSocket, WorkloadIx};

/// Bounds of the handshake's duration, seconds. A SYN is sent again after 1 s, and again after 2 and 4 s more: the
/// bounds 1, 3 and 7 tell how often it was lost.
pub const CONNECT_SECONDS: Buckets =
    Buckets::new(&[0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 3.0, 7.0, 60.0]);

/// Which side of the workload a flow is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The workload connects.
    Outbound,
    /// The workload accepts; the peer is the workload's own listening address.
    Inbound,
}

/// What a flow leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// The address the workload asked for, and the one it got: different behind address translation.
    Address {
        /// Asked for.
        destination: SocketAddr,
        /// Got.
        actual: SocketAddr,
    },
    /// A name with many public addresses, whichever of them the workload got.
    Name {
        /// The name.
        name: NameId,
        /// The port.
        port: u16,
    },
    /// Everything beyond the caps, in one.
    Overflow,
}

impl Peer {
    /// A peer without address translation.
    pub const fn direct(address: SocketAddr) -> Self {
        Self::Address { destination: address, actual: address }
    }

    /// What an outbound connection leads to.
    pub fn of(socket: &TcpSocket) -> Self {
        let (destination, actual) = (socket.destination(), socket.actual_destination());
        match socket.name {
            Some(name) => Self::Name { name, port: destination.port() },
            None => Self::Address { destination, actual },
        }
    }

    /// What a connection led to that never got to an actual address.
    pub fn of_failed(socket: &TcpSocket) -> Self {
        match socket.name {
            Some(name) => Self::Name { name, port: socket.destination().port() },
            None => Self::direct(socket.destination()),
        }
    }

    /// The port; the overflow has none.
    pub const fn port(self) -> Option<u16> {
        match self {
            Self::Address { destination, .. } => Some(destination.port()),
            Self::Name { port, .. } => Some(port),
            Self::Overflow => None,
        }
    }
}

/// Identity of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Whose.
    pub workload: WorkloadIx,
    /// Which side.
    pub direction: Direction,
    /// To what.
    pub peer: Peer,
}

impl Key for FlowKey {
    fn workload(self) -> WorkloadIx {
        self.workload
    }

    fn of(self, workload: WorkloadIx) -> Self {
        Self { workload, ..self }
    }

    fn overflow(self) -> Self {
        Self { peer: Peer::Overflow, ..self }
    }
}

/// All flows.
pub type Flows = Table<FlowKey, Flow>;

/// Counters of a flow. All but `active` only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// Connections established.
    pub established: u64,
    /// Time in handshakes, nanoseconds.
    pub connect_ns: u64,
    /// Handshakes by their duration; `None` until one was measured.
    pub connect_times: Option<Arc<Histogram>>,
    /// Connections open now.
    pub active: u64,
    /// Connections that the peer reset.
    pub resets_received: u64,
    /// Connections that the workload gave up with a reset.
    pub resets_sent: u64,
    /// Traffic; `None` until something measured it.
    pub traffic: Option<Counters>,
}

impl Flow {
    /// Adds a connection; `connect_ns` is the handshake's duration, 0 where that was not seen.
    pub fn establish(&mut self, connect_ns: u64) {
        self.established += 1;
        self.connect_ns += connect_ns;
        if connect_ns > 0 {
            let times = self.connect_times.get_or_insert_with(|| Arc::new(Histogram::new(CONNECT_SECONDS)));
            Arc::make_mut(times).observe(Duration::from_nanos(connect_ns).as_secs_f64());
        }
    }

    /// Adds what a connection's counters grew by since `before`.
    pub fn add(&mut self, before: &Counters, now: &Option<Counters>) {
        let Some(now) = now else { return };
        let traffic = self.traffic.get_or_insert_default();
        traffic.sent += now.sent.saturating_sub(before.sent);
        traffic.received += now.received.saturating_sub(before.received);
        traffic.retransmits += now.retransmits.saturating_sub(before.retransmits);
    }

    /// Adds the way a connection ended.
    pub fn end(&mut self, end: End) {
        match end {
            End::Orderly => {}
            End::ResetReceived => self.resets_received += 1,
            End::ResetSent => self.resets_sent += 1,
        }
    }
}

impl Row for Flow {
    fn merge(&mut self, other: &Self) {
        self.established += other.established;
        self.connect_ns += other.connect_ns;
        self.active += other.active;
        self.resets_received += other.resets_received;
        self.resets_sent += other.resets_sent;
        self.add(&Counters::default(), &other.traffic);
        match (&mut self.connect_times, &other.connect_times) {
            (Some(times), Some(other)) => Arc::make_mut(times).add(other),
            (times @ None, other) => times.clone_from(other),
            (Some(_), None) => {}
        }
    }

    fn is_open(&self) -> bool {
        self.active > 0
    }
}

#[cfg(test)]
#[path = "flows/tests.rs"]
mod tests;
