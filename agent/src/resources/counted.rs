//! Whether the files of cgroups count disk I/O, and count it right.

use super::{CgroupMounts, Controller, files};

/// Those of v1 do not: some kernels count nothing there, and others (5.10) count what is left of a request again each
/// time that they split it, so that 1 MiB on a disk that takes 128 KiB at once is told as 4.5 MiB. The unified hierarchy
/// counts in the groups to which its root hands the controller down.
pub fn counts_disks(mounts: &CgroupMounts) -> bool {
    if mounts.v1(Controller::Blkio).is_some() {
        return false;
    }
    let handed_down = mounts.v2().and_then(|root| files::text(&root.join("cgroup.subtree_control")));
    handed_down.is_some_and(|names| names.split_ascii_whitespace().any(|name| name == "io"))
}
