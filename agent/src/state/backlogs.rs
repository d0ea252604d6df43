//! What listening sockets dropped: by workload and the address listened on, also after a socket is gone.

use std::net::SocketAddr;

use super::table::{Key, Row, Table};
use crate::model::WorkloadIx;

/// Identity of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BacklogKey {
    /// Who listens.
    pub workload: WorkloadIx,
    /// The socket's own address, possibly unspecified: a wildcard has one queue for all addresses. `None` for
    /// everything beyond the caps.
    pub address: Option<SocketAddr>,
}

impl Key for BacklogKey {
    fn workload(self) -> WorkloadIx {
        self.workload
    }

    fn of(self, workload: WorkloadIx) -> Self {
        Self { workload, ..self }
    }

    fn overflow(self) -> Self {
        Self { address: None, ..self }
    }
}

/// Drops of all listening sockets.
pub type Backlogs = Table<BacklogKey, Drops>;

/// Drops of one address: of all its sockets, which are more than one with `SO_REUSEPORT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// For any reason.
    pub all: u64,
    /// Because the queue was full, where that is known.
    pub overflows: Option<u64>,
}

impl Row for Drops {
    fn merge(&mut self, other: &Self) {
        self.all += other.all;
        if let Some(more) = other.overflows {
            *self.overflows.get_or_insert(0) += more;
        }
    }
}
