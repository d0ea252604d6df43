//! What the agent is told: flags, environment, file; and what that means.
//!
//! Values are taken as text from wherever they were given, then all judged together, so that one run reports all
//! that is wrong. Nothing here touches more than the files that settings point at.

mod build;
mod command_line;
mod kubernetes;
mod networks;
mod probes;
mod reference;
mod settings;
mod sources;

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use sonde_collector::config::{Problems, QueueConfig, RemoteWriteTarget};
use sonde_collector::http::ListenConfig;

use crate::cloud::CloudSettings;
pub use crate::enrich::runtimes::RuntimeSocket;
use crate::gpu::Library;
pub use command_line::{Command, clap};
pub use probes::{Probe, ProbeSwitches, Switch};
pub use reference::reference;
use sources::Sources;

use crate::networks::Networks;

/// Settings of the agent, all of them valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to serve, and to whom.
    pub listen: ListenConfig,
    /// Where to push to; without any the agent writes nothing to disk.
    pub targets: Vec<RemoteWriteTarget>,
    /// The durable queue before the targets.
    pub queue: QueueConfig,
    /// Time between two pushes.
    pub scrape_interval: Duration,
    /// Only workloads that match one of these are shown; all when there are none.
    pub container_allow: Vec<Regex>,
    /// Workloads that match one of these are hidden.
    pub container_deny: Vec<Regex>,
    /// Services of the system itself are hidden, though counted.
    pub hide_system_services: bool,
    /// Whether the loopback of other network namespaces than the host's is told.
    pub container_loopback: bool,
    /// Whether the runs of the kernel programs are counted and timed.
    pub program_statistics: bool,
    /// Younger workloads are hidden, though counted.
    pub min_container_age: Duration,
    /// Series of one container: its destinations and listeners are folded before it has more.
    pub max_series_per_container: usize,
    /// Above this number of series on the node, those of the largest containers are left out.
    pub max_series: usize,
    /// Destinations with such a port are folded into one.
    pub ephemeral_ports: Option<RangeInclusive<u16>>,
    /// How long what is gone is kept: containers, and destinations without connections.
    pub forget_after: Duration,
    /// Networks whose traffic is added up apart.
    pub networks: Networks,
    /// The node's own zone.
    pub zone: Option<Arc<str>>,
    /// Which probes are wanted.
    pub probes: ProbeSwitches,
    /// Sockets of container runtimes at unusual places.
    pub runtime_sockets: Vec<RuntimeSocket>,
    /// Whom to ask about pods, if anybody.
    pub kubernetes: Option<crate::enrich::kubernetes::Settings>,
    /// The host's procfs.
    pub proc_root: PathBuf,
    /// The host's sysfs, for the firmware's table.
    pub sys_root: PathBuf,
    /// Where the library is that tells of GPUs.
    pub gpu_library: Library,
    /// The cloud: whom to ask, and what wins over the answer.
    pub cloud: CloudSettings,
    /// The host's cgroups.
    pub cgroup_root: PathBuf,
    /// Type information of the kernel. May be unreadable: then what needs it is reported as unsupported.
    pub btf: PathBuf,
    /// Directives for the log's filter.
    pub log_level: String,
    /// Time for an orderly end.
    pub shutdown_timeout: Duration,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line is not understood, or asks for help or the version.
    #[error(transparent)]
    Usage(#[from] Box<clap::Error>),
    /// The settings are wrong.
    #[error("{0}")]
    Problems(#[from] Problems),
}

/// Reads the command line, with the program's name as its first argument, and all settings.
pub fn read(
    arguments: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<(Command, Config), ConfigError> {
    let matches = clap().try_get_matches_from(arguments).map_err(Box::new)?;
    let mut problems = Problems::new();
    let sources = Sources::read(&matches, &env, &mut problems);
    let config = build::build(sources, &mut problems);
    problems.into_result()?;
    Ok((command_line::command(&matches), config))
}

#[cfg(test)]
mod tests;
