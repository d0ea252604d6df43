//! Where connections really lead: the address behind a service's, as the kernel's connection tracking knows it.
//!
//! Whoever translates (kube-proxy by iptables, IPVS or nftables, a container runtime's published ports, a service mesh), the kernel
//! notes it per connection. A connection that was opened here is asked for once, when it was established or first found.
//! Nothing is dumped, nothing is switched on, no setting of the host is written, and nothing waits.
//!
//! `message` is the wire format, `table` the socket, `chain` the way through two tables; `host` and `namespaces` say
//! which tables there are.

mod chain;
mod host;
mod inhabitants;
mod message;
mod namespaces;
mod status;
mod table;

use std::path::Path;

pub use chain::{Found, Question};
pub use message::Protocol;
pub use status::{Stats, Status};

use self::chain::Tables;
use self::host::Host;
use self::inhabitants::Inhabitants;
use self::namespaces::Namespaces;
use self::table::Ask;
use crate::model::{BootNanos, HostPid, NetnsId, Role, SocketKind, TcpSocket};
use crate::registry::SnapshotBuilder;

/// Questions of one call; 16,384 take some 50 ms.
const MAX_QUESTIONS: usize = 16_384;

/// Asks where connections lead.
#[derive(Debug)]
pub struct Translator {
    /// `None` when configuration turned it off.
    sources: Option<Sources>,
    inhabitants: Inhabitants,
    stats: Stats,
}

#[derive(Debug)]
struct Sources {
    host: Host,
    namespaces: Namespaces,
    now: BootNanos,
}

impl Tables for Sources {
    fn host(&self) -> NetnsId {
        self.host.netns()
    }

    fn of_host(&mut self) -> Option<&mut dyn Ask> {
        self.host.table().map(|table| table as &mut dyn Ask)
    }

    fn of(&mut self, netns: NetnsId, pids: &[HostPid]) -> Option<&mut dyn Ask> {
        self.namespaces.table(netns, pids, self.now).map(|table| table as &mut dyn Ask)
    }
}

impl Translator {
    /// Looks at what the machine has, for at most two seconds.
    pub fn open(proc_root: &Path) -> Self {
        let (host, namespaces) = (Host::new(proc_root), Namespaces::new(proc_root));
        Self { sources: Some(Sources { host, namespaces, now: BootNanos(0) }), ..Self::disabled() }
    }

    /// Asks nothing.
    pub fn disabled() -> Self {
        Self { sources: None, inhabitants: Inhabitants::default(), stats: Stats::default() }
    }

    /// Fills in `actual` of those of these sockets that were opened here and of which it is not known: connections that
    /// were established just now, and ones that are older than the agent. `process` names a process of a socket's
    /// container that lives longer than the one that made the socket.
    pub fn translate<'s>(
        &mut self,
        sockets: impl Iterator<Item = &'s mut TcpSocket>,
        process: impl Fn(&TcpSocket) -> Option<HostPid>,
        now: BootNanos,
    ) {
        let noticed = sockets.inspect(|socket| self.notice(socket));
        let mut sockets: Vec<&mut TcpSocket> = noticed.filter(|socket| is_asked_for(socket)).collect();
        let questions: Vec<Question> = sockets
            .iter()
            .map(|socket| Question {
                protocol: Protocol::Tcp,
                netns: socket.netns,
                pids: [
                    socket.origin.as_ref().map(|origin| origin.pid),
                    process(socket),
                    self.inhabitants.of(socket.netns),
                ],
                local: socket.local,
                remote: socket.remote,
            })
            .collect();
        for (socket, found) in sockets.iter_mut().zip(self.resolve(&questions, now)) {
            if let Found::Translated(actual) = found {
                socket.actual = Some(actual);
            }
        }
    }

    /// Notes whose socket this is: another one that opens a connection and ends at once is no way into its namespace.
    pub fn notice(&mut self, socket: &TcpSocket) {
        let lasts = matches!(socket.kind, SocketKind::Listen | SocketKind::Listening | SocketKind::Open);
        if let Some(origin) = socket.origin.as_ref().filter(|_| lasts && self.sources.is_some()) {
            self.inhabitants.notice(socket.netns, origin.pid);
        }
    }

    /// Where connections lead, one answer per question. Those beyond [`MAX_QUESTIONS`] are skipped.
    pub fn resolve(&mut self, questions: &[Question], now: BootNanos) -> Vec<Found> {
        let Some(sources) = self.sources.as_mut().filter(|_| !questions.is_empty()) else {
            return vec![Found::Skipped; questions.len()];
        };
        sources.now = now;
        if sources.host.table().is_none() {
            return vec![Found::Skipped; questions.len()];
        }
        let asked = &questions[..questions.len().min(MAX_QUESTIONS)];
        let mut found = chain::follow(asked, sources);
        found.resize(questions.len(), Found::Skipped);
        self.stats.count(&found);
        found
    }

    /// Goes on where something was to be waited for, and lets go of what is over. For every turn of the event loop.
    pub fn tick(&mut self, now: BootNanos) {
        if let Some(sources) = &mut self.sources {
            sources.host.poll(now);
            sources.namespaces.expire(now);
        }
    }

    /// What works, and why not.
    pub fn status(&self) -> Vec<Status> {
        status::of(
            self.sources.as_ref().map(|sources| (sources.host.verdict(), sources.namespaces.verdict())),
        )
    }

    /// Adds what was asked so far, and the verdicts.
    pub fn collect(&self, builder: &mut SnapshotBuilder) {
        self.stats().collect(builder);
        status::collect(&self.status(), builder);
    }

    /// What was asked so far.
    pub fn stats(&self) -> Stats {
        let namespaces = self.sources.as_ref().map(|sources| sources.namespaces.stats());
        let (namespaces, open) = namespaces.unwrap_or_default();
        Stats { entered: namespaces.entered, enter_failed: namespaces.failed, open, ..self.stats }
    }
}

/// What is accepted was opened elsewhere, and what ended was asked for before.
fn is_asked_for(socket: &TcpSocket) -> bool {
    let opened_here = socket.role != Role::Inbound && socket.actual.is_none();
    opened_here && matches!(socket.kind, SocketKind::Connected | SocketKind::Open)
}

#[cfg(test)]
mod tests;
