use std::path::PathBuf;

use super::*;
use crate::enrich::cgroup_path::Runtime;

const ID: &str = "b06f44ca4949d516ffe575c59aa58e31dd6af170f369265dda1352ba37aaddbd";

/// A machine with a v1 memory hierarchy and a unified one, both ordinary directories.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["1", "cgroup/memory", "cgroup/unified"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let mountinfo = "1 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         2 1 0:2 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        fs::write(root.path().join("1/mountinfo"), mountinfo).unwrap();
        Self { root }
    }

    fn tree(&self) -> CgroupTree {
        CgroupTree::new(&CgroupMounts::discover(self.root.path(), &self.root.path().join("cgroup")))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join("cgroup").join(path)
    }

    fn make(&self, path: &str) -> CgroupId {
        fs::create_dir_all(self.path(path)).unwrap();
        CgroupId(fs::metadata(self.path(path)).unwrap().ino())
    }
}

fn at(seconds: u64) -> BootNanos {
    BootNanos(seconds * SECOND)
}

fn no_hint() -> Option<String> {
    None
}

fn docker() -> Owner {
    Owner::Container { runtime: Runtime::Docker, id: ID.into() }
}

#[test]
fn a_walk_knows_both_hierarchies() {
    let machine = Machine::new();
    let v1 = machine.make(&format!("memory/docker/{ID}"));
    let v2 = machine.make(&format!("unified/docker/{ID}/inner"));
    let root = machine.make("unified");
    let mut tree = machine.tree();
    tree.scan(at(0));
    assert_eq!(tree.get(Hierarchy::V1, v1).unwrap().owner, docker());
    let inner = tree.get(Hierarchy::V2, v2).unwrap();
    assert_eq!((&inner.owner, &*inner.own_path), (&docker(), &*format!("/docker/{ID}")));
    assert_eq!(tree.get(Hierarchy::V2, root).unwrap().owner, Owner::Unmanaged);
    assert_eq!(tree.get(Hierarchy::V2, v1), None);
    assert_eq!(tree.stats(), TreeStats { known: 7, scans: 1, ..TreeStats::default() });
}

#[test]
fn an_unknown_id_makes_one_walk_per_second() {
    let machine = Machine::new();
    let mut tree = machine.tree();
    let first = machine.make("unified/system.slice/a.service");
    assert!(tree.find(Hierarchy::V2, first, no_hint, at(10)).is_some());
    let second = machine.make("unified/system.slice/b.service");
    let early = BootNanos(at(11).0 - 1);
    assert!(tree.find(Hierarchy::V2, second, no_hint, early).is_none());
    assert_eq!((tree.stats().scans, tree.stats().unknown), (1, 1));
    assert!(tree.find(Hierarchy::V2, second, no_hint, at(11)).is_some());
    assert_eq!(tree.stats().scans, 2);
}

#[test]
fn walks_that_explain_nothing_become_rare() {
    let machine = Machine::new();
    let mut tree = machine.tree();
    for second in 0..300 {
        assert!(tree.find(Hierarchy::V2, CgroupId(987_654_321), no_hint, at(second)).is_none());
    }
    // At 0, then after 2, 4, 8, 16, 32 and 64 seconds, then every 64.
    assert_eq!((tree.stats().scans, tree.stats().unknown), (9, 300));
    let known = machine.make("unified/system.slice/a.service");
    assert!(tree.find(Hierarchy::V2, known, no_hint, at(400)).is_some());
    assert!(tree.find(Hierarchy::V2, CgroupId(987_654_321), no_hint, at(401)).is_none());
    assert_eq!(tree.stats().scans, 11, "a walk that explained something is followed by others soon");
}

#[test]
fn a_hint_is_believed_only_when_the_inode_agrees() {
    let machine = Machine::new();
    let mut tree = machine.tree();
    tree.scan(at(0));
    let right = machine.make("unified/system.slice/a.service");
    let wrong = machine.make("unified/system.slice/b.service");
    let hint = || Some("/system.slice/a.service".to_owned());
    assert!(tree.find(Hierarchy::V2, right, hint, at(0)).is_some());
    assert!(tree.find(Hierarchy::V2, wrong, hint, at(0)).is_none());
    assert_eq!(tree.stats().scans, 1);
}

#[test]
fn events_replace_walks_and_the_removed_stay_for_a_minute() {
    let machine = Machine::new();
    let mut tree = machine.tree();
    tree.insert(Hierarchy::V2, CgroupId(77), &format!("/docker/{ID}"));
    assert_eq!(tree.find(Hierarchy::V2, CgroupId(77), no_hint, at(0)).unwrap().owner, docker());
    tree.remove(Hierarchy::V2, CgroupId(77), at(5));
    tree.forget_removed(BootNanos(at(65).0 - 1));
    assert!(tree.get(Hierarchy::V2, CgroupId(77)).is_some());
    tree.forget_removed(at(65));
    assert!(tree.get(Hierarchy::V2, CgroupId(77)).is_none());
    assert_eq!(tree.stats().scans, 0);
}

#[test]
fn a_walk_marks_what_is_gone() {
    let machine = Machine::new();
    let id = machine.make("unified/system.slice/a.service");
    let mut tree = machine.tree();
    tree.scan(at(0));
    fs::remove_dir(machine.path("unified/system.slice/a.service")).unwrap();
    tree.scan(at(10));
    assert!(tree.get(Hierarchy::V2, id).is_some());
    tree.scan(at(70));
    assert!(tree.get(Hierarchy::V2, id).is_none());
}

#[test]
fn ids_of_absent_hierarchies_cost_nothing() {
    let mut tree = CgroupTree::new(&CgroupMounts::default());
    let hint = || panic!("no file may be read");
    assert!(tree.find(Hierarchy::V1, CgroupId(5), hint, at(0)).is_none());
    assert_eq!(tree.stats(), TreeStats::default());
}

#[test]
fn a_full_tree_counts_what_it_leaves_out() {
    let mut tree = CgroupTree::new(&CgroupMounts::default());
    for id in 0..MAX_CGROUPS as u64 + 3 {
        tree.insert(Hierarchy::V2, CgroupId(id), "/x");
    }
    assert_eq!((tree.stats().known, tree.stats().overflowed), (MAX_CGROUPS, 3));
}

#[test]
fn paths_outside_the_agents_namespace_are_found_by_their_depth() {
    let machine = Machine::new();
    let mountinfo = "2 1 0:2 /../.. /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    fs::write(machine.root.path().join("1/mountinfo"), mountinfo).unwrap();
    let tree = machine.tree();
    let sibling = machine.make("unified/system.slice/a.service");
    machine.make("unified/user.slice");
    let top = machine.make("unified/init.scope");
    let inner = machine.make("unified/system.slice/agent/inner");
    let id_at = |path| tree.id_at(Hierarchy::V2, path);
    assert_eq!(id_at("/../a.service"), Some(sibling));
    assert_eq!(id_at("/../../init.scope"), Some(top));
    assert_eq!(id_at("/inner"), Some(inner));
    assert_eq!(id_at("/../.."), Some(machine.make("unified")));
    assert_eq!(id_at("/../b.service"), None);
    machine.make("unified/user.slice/a.service");
    assert_eq!(id_at("/../a.service"), None, "two may be meant");
    let mut tree = tree;
    assert_eq!(
        tree.find(Hierarchy::V2, sibling, || Some("/../a.service".into()), at(0)).unwrap().own_path,
        "/system.slice/a.service".into(),
        "but an id decides"
    );
    assert_eq!(tree.stats().scans, 0);
}
