//! Names for what the kernel tells by number: cgroups become containers and services, processes become executables.
//!
//! [`Workloads`] is owned by the event loop and never waits: questions to a container runtime go through a bounded
//! queue to a task of their own, and what has no answer yet is measured under its cgroup's id.

pub mod cgroup_path;
pub mod cgroup_tree;
mod disk_files;
mod inspections;
mod keep;
pub mod kubernetes;
mod metadata;
pub(crate) mod naming;
pub mod netns;
pub mod process;
pub mod runtimes;
pub mod sources;
pub mod systemd;
mod workloads;

pub use cgroup_tree::Hierarchy;
pub use disk_files::counts_disks;
pub use metadata::{ContainerMetadata, ContainerRef, InspectError, Mount, PublishedPort};
pub use workloads::{Merged, OpenFilesPass, Settings, Stats, Workloads};
