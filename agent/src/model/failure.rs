//! Why a connection could not be established, and how one ended.

/// Why an attempt to connect failed, as far as the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// A reset answered the SYN, or an ICMP message said that the port is closed.
    Refused,
    /// Nobody answered the SYN and its retransmissions.
    TimedOut,
    /// A router or the peer's neighbour said that the host cannot be reached.
    HostUnreachable,
    /// A router said that the network cannot be reached.
    NetworkUnreachable,
    /// A reset arrived in the middle of the handshake.
    Reset,
    /// The program closed the socket before an answer came, which is how a program's own time limit looks; or it was
    /// killed.
    Aborted,
    /// An ICMP message said that policy forbids it.
    Permission,
    /// No local port or address was free; nothing was sent.
    AddressUnavailable,
    /// Anything else, and where the kernel's reason cannot be read.
    Other,
}

impl Failure {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::TimedOut,
        Self::HostUnreachable,
        Self::NetworkUnreachable,
        Self::Reset,
        Self::Aborted,
        Self::Permission,
        Self::AddressUnavailable,
        Self::Other,
    ];

    /// The value of the `reason` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timeout",
            Self::HostUnreachable => "host_unreachable",
            Self::NetworkUnreachable => "network_unreachable",
            Self::Reset => "reset",
            Self::Aborted => "aborted",
            Self::Permission => "permission",
            Self::AddressUnavailable => "address_unavailable",
            Self::Other => "other",
        }
    }
}

/// How an established connection ended, for the program that had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum End {
    /// By FINs, by a timeout, or in a way that cannot be told.
    #[default]
    Orderly,
    /// The peer reset it while the program held it.
    ResetReceived,
    /// The program gave it up, and a reset was sent.
    ResetSent,
}
