use super::*;
use crate::resources::counts_disks;

#[test]
fn files_count_when_the_unified_hierarchy_hands_the_controller_down() {
    let text = "8:0 Read 1\n8:0 Write 0\n8:0 Total 1\nTotal 1\n";
    let (_root, mounts) = host(&V1, &[("blkio/blkio.throttle.io_serviced", text)]);
    assert!(!counts_disks(&mounts), "v1 counts what is split several times");
    let v2 = |names: &str| {
        let (_root, mounts) = host(&[("cgroup2", "", "rw")], &[("cgroup.subtree_control", names)]);
        counts_disks(&mounts)
    };
    assert!(v2("cpu io memory\n"));
    assert!(!v2("cpu memory\n"), "the root keeps the controller to itself");
    assert!(!v2(""));
}
