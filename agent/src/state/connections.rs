//! Connections: from events and snapshots to flows, every byte once.
//!
//! Two sources tell of the same connection: events (its start, its end with the final counters) and passes of the
//! iterator (its counters so far). Each connection remembers what was already counted, so the order in which the two
//! arrive does not matter, and a connection found open when the agent starts begins at a baseline.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use foldhash::{HashMap, HashMapExt as _};

use self::entry::{Connection, Start, direction};
use super::backlogs::Backlogs;
use super::failures::{FailureKey, Failures};
use super::flows::{Direction, FlowKey, Flows, Peer};
use super::limits::{Limits, Stats};
use super::listeners::Listeners;
use super::overflows::Overflows;
use super::round_trips::RoundTrips;
use super::table::shrink;
use super::totals::Totals;
use crate::model::{BootNanos, Claim, Counters, NetnsId, Role, SocketId, SocketKind, TcpSocket, WorkloadIx};

mod entry;
mod queues;

/// All open connections, listeners and flows.
#[derive(Debug)]
pub struct Connections {
    open: HashMap<SocketId, Connection>,
    listeners: Listeners,
    flows: Flows,
    failures: Failures,
    backlogs: Backlogs,
    overflows: Overflows,
    /// Found open in this pass, direction not yet known: the listeners of the pass must be complete first.
    undirected: Vec<(TcpSocket, Option<WorkloadIx>)>,
    round_trips: RoundTrips,
    /// Whether a pass was finished: it saw every connection that is older than the agent.
    has_passed: bool,
    limits: Limits,
    stats: Stats,
}

impl Connections {
    /// Empty tables.
    pub fn new(limits: Limits) -> Self {
        Self {
            open: HashMap::new(),
            listeners: Listeners::default(),
            flows: Flows::new(limits.flows),
            failures: Failures::new(limits.failures),
            backlogs: Backlogs::new(limits.backlogs),
            overflows: Overflows::default(),
            undirected: Vec::new(),
            round_trips: RoundTrips::new(limits.round_trips),
            has_passed: false,
            limits,
            stats: Stats::default(),
        }
    }

    /// Takes an event or a row. `claim` tells whose socket it is, as far as its origin does; `totals` takes what is new
    /// whoever the owner is.
    pub fn handle(&mut self, socket: TcpSocket, claim: impl Into<Claim>, totals: &mut dyn Totals) {
        let claim = claim.into();
        let owner = claim.workload;
        match socket.kind {
            SocketKind::Connected | SocketKind::Accepted => self.started(&socket, owner, totals),
            SocketKind::ConnectFailed => self.failed(&socket, owner),
            SocketKind::Closed => self.ended(&socket, owner, totals),
            SocketKind::Open => self.found(socket, owner, totals),
            SocketKind::Listen | SocketKind::Listening => self.listening(&socket, claim),
            SocketKind::Unlisten => self.unlisten(&socket),
        }
    }

    /// Begins a pass of the iterator. What a failed one left behind is forgotten.
    pub fn begin_pass(&mut self) {
        self.undirected.clear();
        self.listeners.forget_claims();
        self.round_trips.begin_pass();
    }

    /// Connections older than the agent that this pass found first, for what is to be known of them before it ends.
    pub fn newly_found(&mut self) -> impl Iterator<Item = &mut TcpSocket> {
        self.undirected.iter_mut().map(|(socket, _)| socket)
    }

    /// Ends a pass of the iterator that began at `pass`.
    pub fn finish_pass(&mut self, pass: BootNanos, totals: &mut dyn Totals) {
        self.settle_listeners();
        self.listeners.remove_unseen(pass);
        for (socket, owner) in std::mem::take(&mut self.undirected) {
            self.adopt(&socket, owner, totals);
        }
        self.has_passed = true;
        self.round_trips.finish_pass();
    }

    /// Ends connections that the pass which began at `pass` did not see; returns their sockets, unless a newer connection
    /// has them by now. For kernels where only passes tell of connections: there an end has no event.
    pub fn close_unseen(&mut self, pass: BootNanos) -> Vec<u64> {
        let unseen = |(id, connection): (&SocketId, &Connection)| (connection.seen < pass).then_some(*id);
        let gone: Vec<SocketId> = self.open.iter().filter_map(unseen).collect();
        gone.iter().for_each(|id| self.close(*id, pass));
        let mut ended: HashSet<u64> = gone.iter().map(|id| id.sock).collect();
        for id in self.open.keys() {
            ended.remove(&id.sock);
        }
        ended.into_iter().collect()
    }

    /// Round-trip times of the last pass, and of what ended.
    pub fn round_trips(&self) -> &RoundTrips {
        &self.round_trips
    }

    /// Flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Failed attempts.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// What listeners dropped.
    pub fn backlogs(&self) -> &Backlogs {
        &self.backlogs
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
        Stats {
            flows_folded: self.flows.folded(),
            failures_folded: self.failures.folded(),
            backlogs_folded: self.backlogs.folded(),
            round_trips_folded: self.round_trips.folded(),
            ..self.stats
        }
    }

    /// Entries that memory is held for, in all tables.
    pub fn capacity(&self) -> usize {
        self.open.capacity()
            + self.flows.capacity()
            + self.failures.capacity()
            + self.backlogs.capacity()
            + self.overflows.capacity()
            + self.listeners.capacity()
            + self.round_trips.capacity()
    }

    /// Moves everything of a workload to another one that it turned out to be.
    pub fn merge_workload(&mut self, from: WorkloadIx, into: WorkloadIx) {
        let moved = self.flows.merge_workload(from, into);
        self.failures.merge_workload(from, into);
        self.round_trips.merge_workload(from, into);
        let queues = self.backlogs.merge_workload(from, into);
        self.overflows.rename(&queues);
        self.listeners.merge_workload(from, into);
        for key in self.open.values_mut().filter_map(|connection| connection.flow.as_mut()) {
            if let Some(new) = moved.get(key) {
                *key = *new;
            }
        }
    }

    /// Drops idle rows and those of workloads that are gone, and gives memory back.
    pub fn collect_garbage(&mut self, idle_since: BootNanos, retired: &[WorkloadIx]) {
        self.flows.drop_idle(idle_since);
        self.failures.drop_idle(idle_since);
        self.backlogs.drop_idle(idle_since);
        self.round_trips.drop_idle(idle_since);
        self.listeners.shrink();
        shrink(&mut self.open);
        if retired.is_empty() {
            return;
        }
        let retired: HashSet<WorkloadIx> = retired.iter().copied().collect();
        self.flows.drop_workloads(&retired);
        self.failures.drop_workloads(&retired);
        self.backlogs.drop_workloads(&retired);
        self.round_trips.drop_workloads(&retired);
        self.overflows.forget(&retired);
        self.listeners.disown(&retired);
        // A socket that outlived its processes must not make rows of a workload that is gone, which nobody would
        // forget any more: its number is never used again.
        for connection in self.open.values_mut() {
            connection.flow = connection.flow.filter(|key| !retired.contains(&key.workload));
        }
    }

    /// Drops connections that no pass has seen since `before` and that the kernel half no longer tracks, or tracks only
    /// because a pass once saw them; returns the sockets that the kernel half tracks but nothing here knows.
    pub fn sweep(&mut self, tracked: &[u64], before: BootNanos) -> Vec<u64> {
        let tracked: HashSet<u64> = tracked.iter().copied().collect();
        let lost = |id: &SocketId, connection: &Connection| {
            connection.seen < before && (connection.adopted || !tracked.contains(&id.sock))
        };
        let gone: Vec<SocketId> =
            self.open.iter().filter(|(id, connection)| lost(id, connection)).map(|(id, _)| *id).collect();
        for id in gone {
            self.stats.ends_lost += 1;
            self.close(id, before);
        }
        let known: HashSet<u64> = self.open.keys().map(|id| id.sock).collect();
        tracked.into_iter().filter(|sock| !known.contains(sock)).collect()
    }

    fn started(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>, totals: &mut dyn Totals) {
        self.track(socket, Counters::default());
        self.announce(socket, socket.connect_ns, totals);
        self.own(socket, owner);
    }

    /// Notes that a connection started, once.
    fn announce(&mut self, socket: &TcpSocket, connect_ns: u64, totals: &mut dyn Totals) {
        let is_told = self.leads_to_told(socket);
        let Some(connection) = self.open.get_mut(&socket.id) else { return };
        if connection.start == Start::Unseen {
            connection.start = Start::Pending { connect_ns };
            // What a row told before the event may not have known of a translation.
            (connection.actual, connection.is_told) = (socket.actual_destination(), is_told);
            totals.add_connection(connection.actual.ip(), connection.direction());
        }
        self.settle(socket);
    }

    /// Counts a start that waits for its flow.
    fn settle(&mut self, socket: &TcpSocket) {
        let Some(connection) = self.open.get_mut(&socket.id) else { return };
        let (Start::Pending { connect_ns }, Some(key)) = (connection.start, connection.flow) else { return };
        connection.start = Start::Counted;
        let flow = self.flows.at(key, socket.at);
        flow.establish(connect_ns);
    }

    /// Whether an address of a network namespace is told at all. The loopback of a container is nobody else's: who reads
    /// its addresses without the namespace takes them for the node's.
    pub fn is_told(&self, netns: NetnsId, address: IpAddr) -> bool {
        let is_own = |of: NetnsId| of == netns || netns == NetnsId(0);
        !address.is_loopback() || self.limits.loopback_of.is_none_or(is_own)
    }

    /// Whether an outbound connection leads to an address that is told, also where it was turned to a proxy of its own
    /// namespace.
    fn leads_to_told(&self, socket: &TcpSocket) -> bool {
        let is_told = |address: SocketAddr| self.is_told(socket.netns, address.ip());
        direction(socket.role) == Direction::Inbound
            || is_told(socket.destination()) && is_told(socket.actual_destination())
    }

    fn failed(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        if !self.is_told(socket.netns, socket.destination().ip()) {
            return;
        }
        let Some(workload) = owner else {
            self.stats.unowned += 1;
            return;
        };
        let peer = self.folded(Peer::of_failed(socket));
        let key = self.failures.admit(FailureKey { workload, peer });
        self.failures.at(key, socket.at).add(socket.failure);
    }

    fn ended(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>, totals: &mut dyn Totals) {
        let Some(connection) = self.open.get(&socket.id) else {
            if !socket.adopted {
                self.stats.starts_lost += 1;
                self.count_whole(socket, owner, totals);
            }
            // Else it closed between two passes before any of them counted it: nothing of it is ours.
            return;
        };
        if connection.start == Start::Unseen {
            self.stats.starts_lost += 1;
        }
        self.announce(socket, 0, totals);
        self.own(socket, owner);
        self.count(socket, totals);
        if let Some(key) = self.open.get(&socket.id).and_then(|connection| connection.flow) {
            self.flows.at(key, socket.at).end(socket.end);
        }
        self.close(socket.id, socket.at);
    }

    /// Counts a connection of which only the end is known, or which the full table refused at its start.
    fn count_whole(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>, totals: &mut dyn Totals) {
        let (peer, direction) = (socket.actual_destination().ip(), direction(socket.role));
        totals.add_connection(peer, direction);
        if let Some(counters) = socket.counters {
            totals.add(peer, counters.sent, counters.received);
        }
        if !self.leads_to_told(socket) {
            return;
        }
        let Some((workload, peer)) = self.attribute(direction, (socket.netns, socket.local), socket, owner)
        else {
            self.stats.unowned += 1;
            return;
        };
        let key = self.flow_key(workload, direction, peer);
        let flow = self.flows.at(key, socket.at);
        flow.establish(0);
        flow.add(&Counters::default(), &socket.counters);
        flow.end(socket.end);
        self.observe_round_trip(key, socket.actual_destination().ip(), socket);
    }

    /// Whose a connection is, and to what it leads. An accepted one belongs to its listener until a process is known.
    fn attribute(
        &self,
        direction: Direction,
        (netns, local): (NetnsId, SocketAddr),
        socket: &TcpSocket,
        owner: Option<WorkloadIx>,
    ) -> Option<(WorkloadIx, Peer)> {
        match direction {
            Direction::Outbound => Some((owner?, Peer::of(socket))),
            Direction::Inbound => {
                let listener = self.listeners.find(netns, local);
                // What nobody listens on was led here by a transparent proxy's rules: its clients choose the address.
                let is_foreign = listener.is_none() && netns != NetnsId(0);
                let peer = if is_foreign { Peer::Overflow } else { Peer::direct(local) };
                Some((listener.and_then(|listener| listener.workload).or(owner)?, peer))
            }
        }
    }

    fn found(&mut self, socket: TcpSocket, owner: Option<WorkloadIx>, totals: &mut dyn Totals) {
        if self.open.contains_key(&socket.id) {
            self.own(&socket, owner);
            self.count(&socket, totals);
        } else if socket.adopted {
            self.undirected.push((socket, owner));
        } else {
            // Its start is still in the ring, and will say to whom and where it leads.
            self.track(&socket, Counters::default());
        }
    }

    /// A connection older than the agent: its counters so far are where counting begins.
    fn adopt(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>, totals: &mut dyn Totals) {
        // The socket itself may tell, though its listener is gone or has another address.
        let inbound =
            socket.role == Role::Inbound || self.listeners.find(socket.netns, socket.local).is_some();
        let role = if inbound { Role::Inbound } else { Role::Outbound };
        let socket = TcpSocket { role, ..socket.clone() };
        self.track(&socket, socket.counters.unwrap_or_default());
        if let Some(connection) = self.open.get_mut(&socket.id) {
            connection.start = Start::Counted;
        }
        self.own(&socket, owner);
        self.count(&socket, totals);
    }

    /// Makes the table's entry, unless there is one.
    fn track(&mut self, socket: &TcpSocket, baseline: Counters) {
        if self.open.contains_key(&socket.id) {
            return;
        }
        if self.open.len() >= self.limits.connections {
            // Passes after the first would count the same one again and again.
            let is_new = if socket.adopted { !self.has_passed } else { socket.kind != SocketKind::Open };
            self.stats.refused += u64::from(is_new);
            return;
        }
        let connection = Connection {
            flow: None,
            is_told: self.leads_to_told(socket),
            counted: baseline,
            credited: baseline,
            is_credited: false,
            start: Start::Unseen,
            local: socket.local,
            actual: socket.actual_destination(),
            netns: socket.netns,
            role: socket.role,
            adopted: socket.adopted,
            seen: socket.at,
        };
        self.open.insert(socket.id, connection);
    }

    /// Gives a connection its flow, as soon as its owner is known.
    fn own(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        let waits = |connection: &&Connection| connection.is_told && connection.flow.is_none();
        let Some(connection) = self.open.get(&socket.id).filter(waits) else { return };
        let (direction, local) = (connection.direction(), (connection.netns, connection.local));
        // Where it leads is asked once, maybe before its owner was known.
        let translated = TcpSocket { actual: Some(connection.actual), ..socket.clone() };
        let Some((workload, peer)) = self.attribute(direction, local, &translated, owner) else { return };
        let key = self.flow_key(workload, direction, peer);
        self.flows.at(key, socket.at).active += 1;
        if let Some(connection) = self.open.get_mut(&socket.id) {
            connection.flow = Some(key);
        }
        self.settle(socket);
    }

    /// Adds to the totals and to the flow what is new since the last time.
    fn count(&mut self, socket: &TcpSocket, totals: &mut dyn Totals) {
        let Some(connection) = self.open.get_mut(&socket.id) else { return };
        connection.seen = socket.at;
        let Some(now) = socket.counters else { return };
        connection.add_to(totals, &now);
        let Some(key) = connection.flow else { return };
        let (before, actual) = (connection.credited, connection.actual);
        // Most connections are idle, and their flows are spared the look.
        if before != connection.counted || !connection.is_credited {
            (connection.credited, connection.is_credited) = (connection.counted, true);
            self.flows.at(key, socket.at).add(&before, &Some(connection.counted));
        }
        self.observe_round_trip(key, actual.ip(), socket);
    }

    /// Takes an outbound connection's estimates, by the address behind any translation.
    fn observe_round_trip(&mut self, key: FlowKey, actual: IpAddr, socket: &TcpSocket) {
        let (Direction::Outbound, Some(seen)) = (key.direction, socket.round_trip) else { return };
        match socket.kind {
            SocketKind::Open => self.round_trips.observe(key.workload, actual, seen),
            SocketKind::Closed => self.round_trips.observe_ended(key.workload, actual, seen, socket.at),
            _ => {}
        }
    }

    fn close(&mut self, id: SocketId, at: BootNanos) {
        let Some(connection) = self.open.remove(&id) else { return };
        match connection.flow {
            Some(key) => {
                let flow = self.flows.at(key, at);
                flow.active = flow.active.saturating_sub(1);
            }
            None => self.stats.unowned += u64::from(connection.is_told),
        }
    }

    fn folded(&self, peer: Peer) -> Peer {
        if peer.port().is_some_and(|port| self.is_ephemeral(port)) { Peer::Overflow } else { peer }
    }

    fn flow_key(&mut self, workload: WorkloadIx, direction: Direction, peer: Peer) -> FlowKey {
        let peer = self.folded(peer);
        self.flows.admit(FlowKey { workload, direction, peer })
    }

    fn is_ephemeral(&self, port: u16) -> bool {
        self.limits.ephemeral_ports.as_ref().is_some_and(|range| range.contains(&port))
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[path = "connections/churn.rs"]
mod churn;
