//! What a container runtime tells about a container, and the question that is put to it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::cgroup_path::Runtime;
use crate::model::WorkloadIx;

/// A container about which a runtime is to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerRef {
    /// The workload that waits for the answer.
    pub workload: WorkloadIx,
    /// Whom to ask.
    pub runtime: Runtime,
    /// The container's id.
    pub id: Arc<str>,
    /// The user in whose slice it lives: only that user's own runtimes can have made it.
    pub user: Option<u32>,
}

/// What a runtime knows of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerMetadata {
    /// Name without a leading slash.
    pub name: String,
    /// Image as the user named it.
    pub image: String,
    /// Labels by which managers name what they made; see [`keep`](super::keep).
    pub labels: BTreeMap<String, String>,
    /// Variables by which Nomad names what it made; of the environment nothing else is kept.
    pub environment: BTreeMap<String, String>,
    /// Ports of the host that lead to the container.
    pub published: Vec<PublishedPort>,
    /// What is mounted into the container, in order of the destination.
    pub mounts: Vec<Mount>,
}

/// A directory or file of the host, or a volume, in a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where the container sees it: an absolute path.
    pub destination: Box<str>,
    /// Where the host has it.
    pub source: Box<str>,
    /// Name of the volume; `None` for a directory or file that was chosen by hand.
    pub volume: Option<Box<str>>,
}

/// A TCP port of the host that the runtime forwards to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishedPort {
    /// Address of the host; unspecified for all of its addresses.
    pub address: IpAddr,
    /// Port of the host.
    pub port: u16,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The runtime has no such container.
    #[error("no such container")]
    NotFound,
    /// The runtime is not on this machine.
    #[error("{0}")]
    Absent(String),
    /// The runtime cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The runtime did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer makes no sense.
    #[error("{0}")]
    Malformed(String),
}
