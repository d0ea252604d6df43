//! Connections: from events and snapshots to flows, every byte once.
//!
//! Two sources tell of the same connection: events (its start, its end with the final counters) and passes of the
//! iterator (its counters so far). Each connection remembers what was already counted, so the order in which the two
//! arrive does not matter, and a connection found open when the agent starts begins at a baseline.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::flows::{Direction, FlowKey, Flows, Peer};
use super::listeners::{Listener, Listeners};
use crate::model::{BootNanos, Counters, NetnsId, Role, SocketId, SocketKind, TcpSocket, WorkloadIx};

/// What bounds the tables.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections tracked at once; as many as the kernel half tracks.
    pub connections: usize,
    /// Flows per workload.
    pub flows_per_workload: usize,
    /// Remote ports that are folded into the overflow, because nothing stable listens there.
    pub ephemeral_ports: Option<RangeInclusive<u16>>,
}

/// What happened to the tables themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections whose owner could not be told.
    pub unowned: u64,
    /// Connections not tracked because the table was full.
    pub refused: u64,
    /// Ends of connections whose start was lost.
    pub starts_lost: u64,
    /// Connections whose end was lost, found by the sweep.
    pub ends_lost: u64,
}

#[derive(Clone, Debug)]
struct Connection {
    flow: Option<FlowKey>,
    /// What was counted so far.
    counted: Counters,
    /// Its start was counted (or is before the agent's time).
    announced: bool,
    local: SocketAddr,
    netns: NetnsId,
    role: Role,
    seen: BootNanos,
}

/// All open connections, listeners and flows.
#[derive(Debug)]
pub struct Connections {
    open: HashMap<SocketId, Connection>,
    listeners: Listeners,
    flows: Flows,
    /// Found open in this pass, direction not yet known: the listeners of the pass must be complete first.
    undirected: Vec<(TcpSocket, Option<WorkloadIx>)>,
    limits: Limits,
    stats: Stats,
}

impl Connections {
    /// Empty tables.
    pub fn new(limits: Limits) -> Self {
        let flows = Flows::new(limits.flows_per_workload);
        Self {
            open: HashMap::new(),
            listeners: Listeners::default(),
            flows,
            undirected: Vec::new(),
            limits,
            stats: Stats::default(),
        }
    }

    /// Takes an event or a row. `owner` is whose socket it is, as far as its origin tells.
    pub fn handle(&mut self, socket: TcpSocket, owner: Option<WorkloadIx>) {
        match socket.kind {
            SocketKind::Connected | SocketKind::Accepted => self.started(&socket, owner),
            SocketKind::ConnectFailed => self.failed(&socket, owner),
            SocketKind::Closed => self.ended(&socket, owner),
            SocketKind::Open => self.found(socket, owner),
            SocketKind::Listen | SocketKind::Listening => self.listeners.insert(
                socket.id.sock,
                Listener {
                    workload: owner,
                    pid: socket.origin.as_ref().map(|origin| origin.pid),
                    netns: socket.netns,
                    address: socket.local,
                    seen: socket.at,
                },
            ),
            SocketKind::Unlisten => self.listeners.remove(socket.id.sock),
        }
    }

    /// Ends a pass of the iterator that began at `pass`.
    pub fn finish_pass(&mut self, pass: BootNanos) {
        self.listeners.remove_unseen(pass);
        for (socket, owner) in std::mem::take(&mut self.undirected) {
            self.adopt(&socket, owner);
        }
    }

    /// Flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Listeners.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Open connections.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Counters about the tables.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Drops idle flows and those of workloads that are gone.
    pub fn collect_garbage(&mut self, idle_since: BootNanos, retired: &[WorkloadIx]) {
        self.flows.drop_idle(idle_since);
        if retired.is_empty() {
            return;
        }
        retired.iter().for_each(|workload| self.flows.drop_workload(*workload));
        // A socket that outlived its processes must not bring back a workload whose number will be given anew.
        for connection in self.open.values_mut() {
            connection.flow = connection.flow.filter(|key| !retired.contains(&key.workload));
        }
    }

    /// Drops connections that the kernel half no longer tracks and no pass has seen since `before`; returns the sockets
    /// that the kernel half tracks but nothing here knows.
    pub fn sweep(&mut self, tracked: &[u64], before: BootNanos) -> Vec<u64> {
        let tracked: HashSet<u64> = tracked.iter().copied().collect();
        let lost =
            |id: &SocketId, connection: &Connection| connection.seen < before && !tracked.contains(&id.sock);
        let gone: Vec<SocketId> =
            self.open.iter().filter(|(id, connection)| lost(id, connection)).map(|(id, _)| *id).collect();
        for id in gone {
            self.stats.ends_lost += 1;
            self.close(id, before);
        }
        let known: HashSet<u64> = self.open.keys().map(|id| id.sock).collect();
        tracked.into_iter().filter(|sock| !known.contains(sock)).collect()
    }

    fn started(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        self.track(socket, owner, Counters::default());
        let Some(connection) = self.open.get_mut(&socket.id) else { return };
        if std::mem::replace(&mut connection.announced, true) {
            return;
        }
        if let Some(key) = connection.flow {
            let flow = self.flows.at(key, socket.at);
            flow.established += 1;
            flow.connect_ns += socket.connect_ns;
        }
    }

    fn failed(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        let Some(workload) = owner else {
            self.stats.unowned += 1;
            return;
        };
        let key = self.flow_key(workload, Direction::Outbound, socket.remote);
        self.flows.at(key, socket.at).failed += 1;
    }

    fn ended(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        if !self.open.contains_key(&socket.id) {
            if socket.adopted {
                // It closed between two passes before any of them counted it: nothing of it is ours.
                return;
            }
            self.stats.starts_lost += 1;
            return self.count_whole(socket, owner);
        }
        self.count(socket);
        self.close(socket.id, socket.at);
    }

    /// Counts a connection of which only the end is known, or which the full table refused at its start.
    fn count_whole(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        let Some(workload) = owner else {
            self.stats.unowned += 1;
            return;
        };
        let (direction, address) = match socket.role {
            Role::Inbound => (Direction::Inbound, socket.local),
            Role::Outbound | Role::Unknown => (Direction::Outbound, socket.remote),
        };
        let key = self.flow_key(workload, direction, address);
        let flow = self.flows.at(key, socket.at);
        flow.established += 1;
        flow.add(&Counters::default(), &socket.counters);
    }

    fn found(&mut self, socket: TcpSocket, owner: Option<WorkloadIx>) {
        if self.open.contains_key(&socket.id) {
            self.own(&socket, owner);
            self.count(&socket);
        } else if socket.adopted {
            self.undirected.push((socket, owner));
        } else {
            // Its start is still in the ring.
            self.track(&socket, owner, Counters::default());
            self.count(&socket);
        }
    }

    /// A connection older than the agent: its counters so far are where counting begins.
    fn adopt(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        let inbound = self.listeners.find(socket.netns, socket.local).is_some();
        let role = if inbound { Role::Inbound } else { Role::Outbound };
        let socket = TcpSocket { role, ..socket.clone() };
        self.track(&socket, owner, socket.counters.unwrap_or_default());
        if let Some(connection) = self.open.get_mut(&socket.id) {
            connection.announced = true;
            if let Some(key) = connection.flow {
                self.flows.at(key, socket.at).traffic.get_or_insert_default();
            }
        }
    }

    /// Makes the table's entry, unless there is one.
    fn track(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>, baseline: Counters) {
        if self.open.contains_key(&socket.id) {
            self.own(socket, owner);
            return;
        }
        if self.open.len() >= self.limits.connections {
            self.stats.refused += 1;
            return;
        }
        let connection = Connection {
            flow: None,
            counted: baseline,
            announced: false,
            local: socket.local,
            netns: socket.netns,
            role: socket.role,
            seen: socket.at,
        };
        self.open.insert(socket.id, connection);
        self.own(socket, owner);
    }

    /// Gives a connection its flow, as soon as its owner is known. An accepted connection belongs to its listener
    /// until a process picks it up.
    fn own(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        let Some(connection) = self.open.get(&socket.id) else { return };
        if connection.flow.is_some() {
            return;
        }
        let (direction, address) = match connection.role {
            Role::Inbound => (Direction::Inbound, connection.local),
            Role::Outbound | Role::Unknown => (Direction::Outbound, socket.remote),
        };
        let listener = || self.listeners.find(connection.netns, connection.local);
        let inherited = || listener().and_then(|listener| listener.workload);
        let workload = match direction {
            Direction::Inbound => inherited().or(owner),
            Direction::Outbound => owner,
        };
        let Some(workload) = workload else { return };
        let key = self.flow_key(workload, direction, address);
        self.flows.at(key, socket.at).active += 1;
        if let Some(connection) = self.open.get_mut(&socket.id) {
            connection.flow = Some(key);
        }
    }

    /// Adds to the flow what is new since the last time.
    fn count(&mut self, socket: &TcpSocket) {
        let Some(connection) = self.open.get_mut(&socket.id) else { return };
        connection.seen = socket.at;
        let (Some(now), Some(key)) = (socket.counters, connection.flow) else { return };
        let before = connection.counted;
        connection.counted = Counters {
            sent: before.sent.max(now.sent),
            received: before.received.max(now.received),
            retransmits: before.retransmits.max(now.retransmits),
        };
        self.flows.at(key, socket.at).add(&before, &socket.counters);
    }

    fn close(&mut self, id: SocketId, at: BootNanos) {
        let Some(connection) = self.open.remove(&id) else { return };
        match connection.flow {
            Some(key) => {
                let flow = self.flows.at(key, at);
                flow.active = flow.active.saturating_sub(1);
            }
            None => self.stats.unowned += 1,
        }
    }

    fn flow_key(&mut self, workload: WorkloadIx, direction: Direction, address: SocketAddr) -> FlowKey {
        let ephemeral =
            |port: u16| self.limits.ephemeral_ports.as_ref().is_some_and(|range| range.contains(&port));
        let folded = ephemeral(address.port());
        let peer = if folded { Peer::Overflow } else { Peer::direct(address) };
        self.flows.admit(FlowKey { workload, direction, peer })
    }
}

#[cfg(test)]
#[path = "connections/tests.rs"]
mod tests;
