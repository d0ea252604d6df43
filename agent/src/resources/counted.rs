//! Whether the files of cgroups count disk I/O at all.

use super::files::Files;
use super::{CgroupMounts, Controller, files, v1};

/// A v1 hierarchy counts the disks that did anything since boot, unless throttling counts nothing on this kernel, which
/// some show as disks with zeros. The unified one counts in the groups to which its root hands the controller down.
pub fn counts_disks(mounts: &CgroupMounts) -> bool {
    if let Some(blkio) = mounts.v1(Controller::Blkio) {
        let mut buffer = Vec::new();
        return Files::open(blkio, &mut buffer).is_some_and(|mut files| !v1::disks(&mut files).is_empty());
    }
    let handed_down = mounts.v2().and_then(|root| files::text(&root.join("cgroup.subtree_control")));
    handed_down.is_some_and(|names| names.split_ascii_whitespace().any(|name| name == "io"))
}
