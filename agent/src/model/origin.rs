//! Where a socket or a process comes from, as the kernel saw it.

/// The inode of a cgroup directory, which is also the id the kernel knows it by (`kernfs_node.id`).
///
/// Ids of the v1 hierarchies and of the unified one are separate number spaces: a field's name says which is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(pub u64);

/// A thread group id in the initial PID namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPid(pub u32);

/// The inode of a network namespace (`ns_common.inum`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsId(pub u32);

/// What the kernel tells of the task that made a socket, or of a process itself.
///
/// Both cgroup ids are carried because only user space can know which hierarchy the container runtime uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Thread group.
    pub pid: HostPid,
    /// Cgroup on the unified (v2) hierarchy; the root's id when nothing was moved there.
    pub v2: CgroupId,
    /// Cgroup on the v1 memory hierarchy; 0 where there is none.
    pub v1: CgroupId,
    /// Name of the thread group leader, at most 15 bytes, as in `/proc/<pid>/comm`.
    pub comm: Box<str>,
}

/// Index of a workload in the table of workloads; valid until that table retires it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadIx(pub u32);
