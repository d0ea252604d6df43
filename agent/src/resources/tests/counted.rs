use super::*;
use crate::resources::counts_disks;

#[test]
fn files_count_when_they_list_a_disk() {
    let v1 = |text: &str| {
        let (_root, mounts) = host(&V1, &[("blkio/blkio.throttle.io_serviced", text)]);
        counts_disks(&mounts)
    };
    assert!(v1("8:0 Read 1\n8:0 Write 0\n8:0 Total 1\nTotal 1\n"));
    assert!(!v1("Total 0\n"), "a kernel whose throttling counts nothing");
    assert!(!v1("8:0 Read 0\n8:0 Total 0\n"), "one that lists what it does not count, with zeros");
    let v2 = |names: &str| {
        let (_root, mounts) = host(&[("cgroup2", "", "rw")], &[("cgroup.subtree_control", names)]);
        counts_disks(&mounts)
    };
    assert!(v2("cpu io memory\n"));
    assert!(!v2("cpu memory\n"), "the root keeps the controller to itself");
    assert!(!v2(""));
}
