//! A TCP socket at one moment of its life.

use std::net::SocketAddr;

use super::{BootNanos, End, Failure, NameId, NetnsId, Origin};

/// Identity of a socket: its address in the kernel, and when it was first seen there, since addresses are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    /// Address of the kernel's `struct sock`.
    pub sock: u64,
    /// When tracking began.
    pub born: BootNanos,
}

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This one.
    Outbound,
    /// The other one.
    Inbound,
    /// Not known: the connection is older than the agent.
    Unknown,
}

/// What happened, or what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// An outbound connection was established.
    Connected,
    /// An outbound attempt failed.
    ConnectFailed,
    /// An inbound connection was established.
    Accepted,
    /// An established connection ended.
    Closed,
    /// A socket began to listen.
    Listen,
    /// A socket stopped listening.
    Unlisten,
    /// A connection was found open.
    Open,
    /// A listening socket was found open.
    Listening,
}

impl SocketKind {
    /// The value of the `event` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "tcp_connected",
            Self::ConnectFailed => "tcp_connect_failed",
            Self::Accepted => "tcp_accepted",
            Self::Closed => "tcp_closed",
            Self::Listen => "tcp_listen",
            Self::Unlisten => "tcp_unlisten",
            Self::Open => "tcp_open",
            Self::Listening => "tcp_listening",
        }
    }
}

/// What the kernel counted for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes sent, each once.
    pub sent: u64,
    /// Payload bytes received.
    pub received: u64,
    /// Segments sent again.
    pub retransmits: u64,
}

impl Counters {
    /// The larger of each: two sources may tell of one connection out of order.
    pub fn max(&self, other: &Self) -> Self {
        Self {
            sent: self.sent.max(other.sent),
            received: self.received.max(other.received),
            retransmits: self.retransmits.max(other.retransmits),
        }
    }
}

/// A connection's round-trip times as the kernel estimates them, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Smoothed.
    pub srtt_us: u32,
    /// Smallest of the kernel's window, five minutes by default.
    pub min_us: Option<u32>,
}

/// The accept queue of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Connections that wait to be accepted.
    pub length: u32,
    /// How many may wait.
    pub max: u32,
    /// Connections and attempts dropped since the socket listens; wraps around.
    pub drops: u32,
}

/// A socket, as an event or an iterator's row tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// What happened.
    pub kind: SocketKind,
    /// Which socket.
    pub id: SocketId,
    /// When.
    pub at: BootNanos,
    /// Who opened the connection.
    pub role: Role,
    /// The counters so far are a baseline: the connection is older than the agent.
    pub adopted: bool,
    /// Own address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The address that the program gave to connect(2), where something made it another one before it became `remote`.
    pub asked: Option<SocketAddr>,
    /// The address at the other end after the network's address translation, where that differs from `remote`.
    pub actual: Option<SocketAddr>,
    /// The name that stands for the destination in place of its address, if one does.
    pub name: Option<NameId>,
    /// Network namespace; 0 when unknown.
    pub netns: NetnsId,
    /// Whose socket it is, when known.
    pub origin: Option<Origin>,
    /// Duration of the handshake or of the failed attempt, nanoseconds; 0 when not seen.
    pub connect_ns: u64,
    /// Why an attempt failed.
    pub failure: Failure,
    /// How a connection ended.
    pub end: End,
    /// Counters, where they are measured.
    pub counters: Option<Counters>,
    /// Round-trip times, where they are measured.
    pub round_trip: Option<RoundTrip>,
    /// What a listening socket counts, where it is measured.
    pub backlog: Option<Backlog>,
}

impl TcpSocket {
    /// What the program wanted to talk to.
    pub fn destination(&self) -> SocketAddr {
        self.asked.unwrap_or(self.remote)
    }

    /// What it talks to.
    pub fn actual_destination(&self) -> SocketAddr {
        self.actual.unwrap_or(self.remote)
    }
}
