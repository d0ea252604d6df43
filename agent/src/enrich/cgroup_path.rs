//! What the path of a cgroup says about who lives there.
//!
//! Pure: a path in, an owner out. The path may come from any hierarchy (v1 or v2), any driver (cgroupfs or systemd),
//! and may be seen from any place above the container: what stands before the container's own element never changes
//! the owner; it tells only whether a user made the cgroup. Of nested containers the innermost one owns the processes. The answer for the owner's own path is the
//! same owner.

mod container;
mod machine;
mod unit;

/// A container runtime, as far as a cgroup path can tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    /// Docker, also below ECS and other managers that set their own parent.
    Docker,
    /// containerd: Kubernetes, nerdctl, or bare.
    Containerd,
    /// CRI-O.
    Crio,
    /// Podman, with or without root.
    Podman,
    /// LXC and Incus.
    Lxc,
    /// Nomad's own executors; its docker tasks are Docker's.
    Nomad,
    /// systemd-nspawn and what else registers itself with systemd-machined.
    Nspawn,
    /// A virtual machine of libvirt or Proxmox.
    Qemu,
    /// A container of a Kubernetes pod whose path leaves the runtime open (cgroupfs driver).
    Kubepods,
    /// A pod of Kubernetes whose containers have no cgroup of their own (gVisor, Kata).
    Sandbox,
}

impl Runtime {
    /// Every runtime.
    pub const ALL: [Self; 10] = [
        Self::Docker,
        Self::Containerd,
        Self::Crio,
        Self::Podman,
        Self::Lxc,
        Self::Nomad,
        Self::Nspawn,
        Self::Qemu,
        Self::Kubepods,
        Self::Sandbox,
    ];

    /// The name that begins the `container_id` of a container without a better name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Nomad => "nomad",
            Self::Nspawn => "nspawn",
            Self::Qemu => "qemu",
            Self::Kubepods => "kubepods",
            Self::Sandbox => "sandbox",
        }
    }
}

/// Who owns the processes of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A container: 64 hexadecimal digits for most runtimes, a name for LXC and machines, `<allocation>.<task>` for
    /// Nomad, a pod's uid for a sandbox.
    Container {
        /// Who runs it.
        runtime: Runtime,
        /// Its id in the runtime's words.
        id: Box<str>,
    },
    /// A service of the host by its `container_id`: systemd's as `/<slice>/<unit>.service` with `\x2d` read as a dash,
    /// those of Talos as `/talos/<name>`.
    Service(Box<str>),
    /// Short-lived processes of one kind by the `container_id` that they share: steps of image builds, health checks,
    /// instances of a service for one connection each. Their names would grow without end.
    Group(Box<str>),
    /// A scope, a session, the root, or a path that follows no known rule: the processes are told apart by executable.
    Unmanaged,
}

impl Owner {
    /// How much the owner says; between two hierarchies the higher one is believed.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Container { runtime: Runtime::Sandbox, .. } => 2,
            Self::Container { .. } => 3,
            Self::Service(_) | Self::Group(_) => 1,
            Self::Unmanaged => 0,
        }
    }
}

/// A classified path: the owner, and the part of the path down to the owner's own cgroup, where its files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified<'a> {
    /// Who.
    pub owner: Owner,
    /// The owner's cgroup, a prefix of the path; empty for an owner that has none of its own.
    pub own_path: &'a str,
    /// Containers around each other, the owner included. Between two hierarchies the deeper one is believed: a
    /// container in a container may show in one of them only.
    pub nesting: u8,
    /// The user in whose slice a container is, and who therefore chose its id; `None` outside of such slices and for root.
    pub user: Option<u32>,
}

/// Classifies the path of a cgroup relative to the root of its hierarchy.
pub fn classify(path: &str) -> Classified<'_> {
    let path = path.trim_end_matches(" (deleted)").trim_end_matches('/');
    if let Some(found) = container::innermost(path) {
        let own_path = &path[..found.end];
        return Classified { owner: found.owner, own_path, nesting: found.nesting, user: user(own_path) };
    }
    let (owner, end) = unit::system_unit(path)
        .or_else(|| unit::talos(path))
        .or_else(|| unit::build_step(path))
        .unwrap_or((Owner::Unmanaged, path.len()));
    Classified { owner, own_path: &path[..end], nesting: 0, user: None }
}

/// The user of the outermost `user-<uid>.slice` of a path: below it the user makes what cgroups it likes, also further
/// slices that look like another user's. What root makes is as good as the system's own.
fn user(path: &str) -> Option<u32> {
    let uid = |element: &str| element.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok();
    elements(path).find_map(|(element, _)| uid(element)).filter(|uid| *uid != 0)
}

/// Whether a text is an id as most runtimes make them: 64 hexadecimal digits.
pub fn is_container_id(text: &str) -> bool {
    container::is_id(text)
}

/// The elements of a path, each with the offset of its end.
fn elements(path: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut end = 0;
    path.split('/').filter_map(move |element| {
        end += element.len() + 1;
        (!element.is_empty()).then_some((element, end - 1))
    })
}

/// systemd writes a dash inside a name as `\x2d`, since a bare dash separates the levels of a slice.
fn unescape(name: &str) -> String {
    name.replace("\\x2d", "-")
}

#[cfg(test)]
mod tests;
