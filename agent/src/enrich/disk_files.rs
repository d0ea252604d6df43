//! Whether the files of cgroups count disk I/O of everybody who is here.

use super::cgroup_path::Owner;
use super::cgroup_tree::{CgroupTree, Hierarchy};
use crate::model::BootNanos;
use crate::resources::{self, CgroupMounts};

/// Whether the files of the hierarchies count the disk I/O of all containers and services there are now. The root of the
/// unified hierarchy may hand its controller down while a group below does not: whoever is in there has no `io.stat`.
pub fn counts_disks(mounts: &CgroupMounts) -> bool {
    if !resources::counts_disks(mounts) {
        return false;
    }
    let Some(root) = mounts.v2() else { return false };
    let mut tree = CgroupTree::new(mounts);
    tree.scan(BootNanos(0));
    let mut owners = tree.all(Hierarchy::V2).filter(|cgroup| !matches!(cgroup.owner, Owner::Unmanaged));
    owners.all(|cgroup| resources::below(root, &cgroup.own_path).join("io.stat").exists())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const ID: &str = "b06f44ca4949d516ffe575c59aa58e31dd6af170f369265dda1352ba37aaddbd";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn one_container_without_the_file_is_enough() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        write(root, "proc/1/mountinfo", "1 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        write(root, "cgroup/cgroup.subtree_control", "cpu io memory\n");
        let counts = || counts_disks(&CgroupMounts::discover(&root.join("proc"), &root.join("cgroup")));
        assert!(counts(), "there is nobody else");
        write(root, &format!("cgroup/docker/{ID}/io.stat"), "");
        // Inside a container, and of nobody: neither is shown by itself.
        write(root, &format!("cgroup/docker/{ID}/init/cgroup.procs"), "7\n");
        write(root, "cgroup/user.slice/user-0.slice/session-1.scope/cgroup.procs", "8\n");
        assert!(counts());
        let kubelet = format!("cgroup/kubepods/pod8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e/{ID}");
        write(root, &format!("{kubelet}/cgroup.procs"), "9\n");
        assert!(!counts(), "the parent of pods keeps the controller to itself");
        write(root, &format!("{kubelet}/io.stat"), "");
        write(root, &format!("{kubelet}/../io.stat"), "");
        assert!(counts());
        write(root, "cgroup/system.slice/nginx.service/cgroup.procs", "10\n");
        assert!(!counts(), "a service is shown too");
    }
}
