//! Which mounts of a `/proc/<pid>/mountinfo` are file systems worth a series.

use std::collections::HashMap;

use super::{Filesystem, Usage};
use crate::resources::mountinfo::{self, has_option, mounts, unescape};

/// File systems shown; a node with a hundred volumes has some 150.
const MAX_SHOWN: usize = 256;

/// A mount that is a file system of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) struct Mount {
    /// Where, as the table's owner sees it.
    pub mount_point: Box<str>,
    /// What is mounted.
    pub device: Box<str>,
    /// Type of the file system.
    pub fstype: Box<str>,
    /// Whether the mount or the file system behind it is read-only.
    pub read_only: bool,
    /// Whether it is asked over a network, or of a process that may not answer.
    pub is_remote: bool,
}

impl Mount {
    pub(super) fn with(self, usage: Option<Usage>) -> Filesystem {
        let Self { mount_point, device, fstype, read_only, .. } = self;
        Filesystem { mount_point, device, fstype, read_only, usage }
    }
}

/// Nothing is kept in these: they are views of the kernel, images that are always full, or mounted when looked at.
const WITHOUT_SPACE: [&str; 29] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "rootfs",
];

/// What runtimes mount for each container on memory: files of secrets, shared memory, namespaces.
const OF_CONTAINERS: [&str; 8] = [
    "/var/lib/kubelet/",
    "/var/lib/docker/",
    "/var/lib/containers/",
    "/var/lib/containerd/",
    "/run/containerd/",
    "/run/docker/",
    "/run/credentials/",
    "/run/user/",
];

/// Those whose `statfs` goes over a network or to a process.
fn is_remote(fstype: &str) -> bool {
    const REMOTE: [&str; 14] = [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "glusterfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
    ];
    REMOTE.contains(&fstype) || fstype == "fuse" || fstype == "fuseblk" || fstype.starts_with("fuse.")
}

/// A line of the table.
struct Line {
    id: u64,
    device_id: Box<str>,
    root: Box<str>,
    mount: Mount,
}

/// The mounts worth a series, local ones first, and the number of those above the bound. Of several mounts of a file
/// system one stays: one of all of it rather than of a part, then the one with the shortest path. Of several mounts at
/// one path the last one is seen.
pub(super) fn select(table: &str) -> (Vec<Mount>, usize) {
    let mut at_path: HashMap<Box<str>, usize> = HashMap::new();
    let mut lines: Vec<Line> = Vec::new();
    for line in mounts(table).map(read) {
        match at_path.get(&line.mount.mount_point) {
            Some(below) => lines[*below] = line,
            None => {
                at_path.insert(line.mount.mount_point.clone(), lines.len());
                lines.push(line);
            }
        }
    }
    let mut of_device: HashMap<Box<str>, Line> = HashMap::new();
    for line in lines.into_iter().filter(is_shown) {
        let rank = |line: &Line| (&*line.root != "/", line.mount.mount_point.len(), line.id);
        match of_device.get_mut(&line.device_id) {
            Some(known) if rank(known) <= rank(&line) => {}
            _ => {
                of_device.insert(line.device_id.clone(), line);
            }
        }
    }
    let mut kept: Vec<Line> = of_device.into_values().collect();
    kept.sort_by_key(|line| (line.mount.is_remote, line.id));
    let overflow = kept.len().saturating_sub(MAX_SHOWN);
    kept.truncate(MAX_SHOWN);
    (kept.into_iter().map(|line| line.mount).collect(), overflow)
}

/// The id of the mount that is the table's root directory.
pub(super) fn root_id(table: &str) -> Option<u64> {
    mounts(table).filter(|mount| unescape(mount.mount_point) == "/").map(|mount| mount.id).last()
}

fn is_shown(line: &Line) -> bool {
    let Mount { mount_point, fstype, .. } = &line.mount;
    if WITHOUT_SPACE.contains(&&**fstype) {
        return false;
    }
    match &**fstype {
        // The same space as what it is made of, shown there; but a machine may have it as its root.
        "overlay" | "aufs" => &**mount_point == "/",
        "tmpfs" => {
            !["/sys/", "/proc/"].iter().chain(&OF_CONTAINERS).any(|prefix| mount_point.starts_with(prefix))
        }
        _ => true,
    }
}

fn read(mount: mountinfo::Mount<'_>) -> Line {
    let is_read_only = |options| has_option(options, "ro");
    Line {
        id: mount.id,
        device_id: mount.device.into(),
        root: mount.root.into(),
        mount: Mount {
            mount_point: unescape(mount.mount_point).into(),
            device: unescape(mount.source).into(),
            read_only: is_read_only(mount.options) || is_read_only(mount.super_options),
            is_remote: is_remote(mount.fstype),
            fstype: mount.fstype.into(),
        },
    }
}

#[cfg(test)]
mod tests;
