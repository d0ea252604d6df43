//! Open files of a process.

use super::Origin;

/// Open files of one process, or some of them: several of the same process add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The process.
    pub origin: Origin,
    /// Open files, sockets included.
    pub files: u64,
    /// Sockets among them.
    pub sockets: u64,
    /// Soft limit of open files, when it is known.
    pub limit: Option<u64>,
}
