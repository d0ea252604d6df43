//! Whether the files of cgroups count disk I/O at all.

use super::{CgroupMounts, Controller, files};

/// A v1 hierarchy lists the disks that did anything since boot, unless throttling counts nothing on this kernel. The
/// unified one lists them in the groups to which its root hands the controller down.
pub fn counts_disks(mounts: &CgroupMounts) -> bool {
    if let Some(blkio) = mounts.v1(Controller::Blkio) {
        let counts = |name: &str| {
            let text = files::text(&blkio.join(name)).unwrap_or_default();
            text.lines().any(|line| line.contains(':'))
        };
        return counts("blkio.throttle.io_serviced_recursive") || counts("blkio.throttle.io_serviced");
    }
    let handed_down = mounts.v2().and_then(|root| files::text(&root.join("cgroup.subtree_control")));
    handed_down.is_some_and(|names| names.split_ascii_whitespace().any(|name| name == "io"))
}
