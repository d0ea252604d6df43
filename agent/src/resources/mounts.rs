//! Where the cgroup hierarchies are mounted.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{files, mountinfo};

/// The v1 controllers whose files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// Limits and throttling.
    Cpu,
    /// CPU time.
    CpuAcct,
    /// Memory; its directories' inodes are the v1 ids of the agent.
    Memory,
    /// Block devices.
    Blkio,
    /// Number of tasks.
    Pids,
}

impl Controller {
    fn from_option(option: &str) -> Option<Self> {
        Some(match option {
            "cpu" => Self::Cpu,
            "cpuacct" => Self::CpuAcct,
            "memory" => Self::Memory,
            "blkio" => Self::Blkio,
            "pids" => Self::Pids,
            _ => return None,
        })
    }
}

/// Which hierarchies there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Neither: only processes are told apart.
    Absent,
    /// v1 controllers only.
    V1,
    /// The unified hierarchy only.
    V2,
    /// v1 controllers beside a unified hierarchy.
    Hybrid,
}

/// The root of one hierarchy, as the agent reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyRoot {
    /// Path that the agent can open.
    pub path: PathBuf,
    /// Levels by which it stands above the root of the agent's cgroup namespace; 0 in the host's namespace.
    pub levels_above: usize,
}

/// The roots of all hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupMounts {
    v1: HashMap<Controller, HierarchyRoot>,
    v2: Option<HierarchyRoot>,
    failure: Option<String>,
}

/// Where distributions mount cgroups, and the default of `--cgroup-root`.
const USUAL_ROOT: &str = "/sys/fs/cgroup";

impl CgroupMounts {
    /// Finds the mounts in the lists of process 1 below `proc_root` and of the agent itself.
    ///
    /// Those of process 1 are reached through its root directory, since a container has a view of its own, and a
    /// `cgroup_root` other than `/sys/fs/cgroup` replaces that path; those of the agent by their plain paths. Of
    /// several mounts of a hierarchy the one that shows most of it is taken: a cgroup namespace has one whose root is
    /// the namespace's own, and a bind mount from outside may stand beside it.
    pub fn discover(proc_root: &Path, cgroup_root: &Path) -> Self {
        let host_root = proc_root.join("1/root");
        let mut mounts = Self::default();
        let mut missed = Vec::new();
        let of_host = mounts.read(&proc_root.join("1/mountinfo"), &mut missed, |mount_point| {
            reach(mount_point, &host_root, cgroup_root)
        });
        // What only the agent sees is reached by nobody else: not worth a word when it is not a directory.
        let own = mounts.read(&proc_root.join("self/mountinfo"), &mut Vec::new(), |mount_point| {
            Some(PathBuf::from(mount_point)).filter(|path| path.is_dir())
        });
        let is_missed = |(levels, _): &&(usize, String)| {
            mounts.v2.as_ref().is_none_or(|found| found.levels_above < *levels)
        };
        mounts.failure = match missed.iter().find(is_missed) {
            Some((_, mount_point)) => Some(format!(
                "{mount_point} of the host is out of reach: it takes CAP_SYS_PTRACE, or a mount of it that \
                 --cgroup-root names"
            )),
            None if mounts.v2.is_none() => of_host.and(own).err(),
            None => None,
        };
        mounts
    }

    /// The mounts of a list, by the paths that it has.
    pub fn parse(mountinfo: &str) -> Self {
        let mut mounts = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            mounts.add(&mount, PathBuf::from(mount.mount_point));
        }
        mounts
    }

    /// Takes in a `mountinfo`, and notes mounts of the unified hierarchy that cannot be reached.
    fn read(
        &mut self,
        mountinfo: &Path,
        missed: &mut Vec<(usize, String)>,
        reach: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<(), String> {
        let taken = files::lines(mountinfo, u64::MAX, |line| {
            if let Some(mount) = Mount::parse(line) {
                match reach(mount.mount_point) {
                    Some(path) => self.add(&mount, path),
                    None if mount.file_system == "cgroup2" => {
                        missed.push((mount.levels_above, mount.mount_point.to_owned()));
                    }
                    None => {}
                }
            }
            ControlFlow::Continue(())
        });
        taken.map(drop).map_err(|error| format!("{} could not be read: {error}", mountinfo.display()))
    }

    fn add(&mut self, mount: &Mount<'_>, path: PathBuf) {
        let levels_above = mount.levels_above;
        let is_better =
            |known: Option<&HierarchyRoot>| known.is_none_or(|known| known.levels_above < levels_above);
        let root = HierarchyRoot { path, levels_above };
        match mount.file_system {
            "cgroup2" if is_better(self.v2.as_ref()) => self.v2 = Some(root),
            "cgroup" => {
                for controller in mount.options.split(',').filter_map(Controller::from_option) {
                    if is_better(self.v1.get(&controller)) {
                        self.v1.insert(controller, root.clone());
                    }
                }
            }
            _ => {}
        }
    }

    /// Path of the v1 hierarchy that has a controller.
    pub fn v1(&self, controller: Controller) -> Option<&Path> {
        self.v1_root(controller).map(|root| &*root.path)
    }

    /// Path of the unified hierarchy.
    pub fn v2(&self) -> Option<&Path> {
        self.v2_root().map(|root| &*root.path)
    }

    /// Root of the v1 hierarchy that has a controller.
    pub fn v1_root(&self, controller: Controller) -> Option<&HierarchyRoot> {
        self.v1.get(&controller)
    }

    /// Root of the unified hierarchy.
    pub fn v2_root(&self) -> Option<&HierarchyRoot> {
        self.v2.as_ref()
    }

    /// Which hierarchies were found.
    pub fn layout(&self) -> Layout {
        match (self.v1.is_empty(), self.v2.is_some()) {
            (true, false) => Layout::Absent,
            (false, false) => Layout::V1,
            (true, true) => Layout::V2,
            (false, true) => Layout::Hybrid,
        }
    }

    /// Why the unified hierarchy was not found as a whole, though it may be there; `None` also when nobody mounted it.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

fn reach(mount_point: &str, host_root: &Path, cgroup_root: &Path) -> Option<PathBuf> {
    let configured = mount_point.strip_prefix(USUAL_ROOT).filter(|_| cgroup_root != Path::new(USUAL_ROOT));
    let configured = configured.map(|rest| super::below(cgroup_root, rest));
    let through_host = super::below(host_root, mount_point);
    configured.into_iter().chain([through_host]).find(|path| path.is_dir())
}

struct Mount<'a> {
    levels_above: usize,
    mount_point: &'a str,
    file_system: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads one line; a mount that shows only a part of its hierarchy is left out. So is any other file system before
    /// anybody looks at it: one whose server is gone would never answer.
    fn parse(line: &'a str) -> Option<Self> {
        let mountinfo::Mount { root, mount_point, fstype, super_options, .. } =
            mountinfo::Mount::parse(line)?;
        let is_cgroup = ["cgroup", "cgroup2"].contains(&fstype);
        let levels_above = levels_above(root).filter(|_| is_cgroup)?;
        Some(Self { levels_above, mount_point, file_system: fstype, options: super_options })
    }
}

/// The kernel shows the root of a cgroup mount as seen from the reader's cgroup namespace, whoever's list is read: a
/// mount of the whole hierarchy is then `/..` once for each level, and `/` is the namespace's own root.
fn levels_above(root: &str) -> Option<usize> {
    let elements = root.strip_prefix('/')?.split('/').filter(|element| !element.is_empty());
    elements.map(|element| (element == "..").then_some(1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
36 31 0:32 /docker/x /other rw,relatime - cgroup cgroup rw,blkio\n\
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn a_hybrid_layout_has_both() {
        let mounts = CgroupMounts::parse(HYBRID);
        assert_eq!(mounts.layout(), Layout::Hybrid);
        assert_eq!(mounts.v1(Controller::Cpu), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(mounts.v1(Controller::CpuAcct), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(mounts.v1(Controller::Memory), Some(Path::new("/sys/fs/cgroup/memory")));
        assert_eq!(mounts.v1(Controller::Blkio), None);
        assert_eq!(mounts.v2(), Some(Path::new("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn the_other_layouts() {
        let of = |keep: &str| {
            let lines: Vec<_> = HYBRID.lines().filter(|line| line.contains(keep)).collect();
            CgroupMounts::parse(&lines.join("\n")).layout()
        };
        assert_eq!(of("cgroup2"), Layout::V2);
        assert_eq!(of("rw,memory"), Layout::V1);
        assert_eq!(of("tmpfs"), Layout::Absent);
        assert_eq!(of("name=systemd"), Layout::Absent);
    }

    /// A procfs of which the lists of mounts are given, and directories that can be reached.
    fn machine(lists: &[(&str, &str)], directories: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (process, mountinfo) in lists {
            std::fs::create_dir_all(root.path().join(process)).unwrap();
            let mountinfo = mountinfo.replace("ROOT", &root.path().display().to_string());
            std::fs::write(root.path().join(process).join("mountinfo"), mountinfo).unwrap();
        }
        for directory in directories {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        root
    }

    #[test]
    fn a_configured_root_replaces_the_usual_one() {
        let reachable = ["host/unified", "1/root/sys/fs/cgroup/memory"];
        let root = machine(&[("1", HYBRID)], &reachable);
        let mounts = CgroupMounts::discover(root.path(), &root.path().join("host"));
        assert_eq!(mounts.v2(), Some(&*root.path().join("host/unified")));
        let memory = root.path().join("1/root/sys/fs/cgroup/memory");
        assert_eq!(mounts.v1(Controller::Memory), Some(&*memory), "what it does not have is the host's");
        assert_eq!(mounts.failure(), None);
    }

    const PRIVATE: &str = "40 23 0:30 / ROOT/private rw - cgroup2 cgroup rw\n";
    const BOUND: &str = "41 23 0:30 /../.. ROOT/bound rw - cgroup2 cgroup rw\n";
    const HOST: &str = "31 23 0:30 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_cgroup_namespace_is_left_through_the_host_or_a_bind_mount() {
        let found = |lists: &[(&str, &str)], directories: &[&str], cgroup_root: &str| {
            let root = machine(lists, directories);
            let mounts = CgroupMounts::discover(root.path(), &root.path().join(cgroup_root));
            let v2 = mounts.v2_root().map(|found| {
                (found.path.strip_prefix(root.path()).unwrap().display().to_string(), found.levels_above)
            });
            (v2, mounts.failure().map(|failure| failure.split(':').next().unwrap_or_default().to_owned()))
        };
        let own = [PRIVATE, BOUND].concat();
        let path = |path: &str, levels| Some((path.to_owned(), levels));
        let through_host =
            found(&[("1", HOST), ("self", PRIVATE)], &["private", "1/root/sys/fs/cgroup"], "x");
        assert_eq!(through_host, (path("1/root/sys/fs/cgroup", 2), None));
        let bound = found(&[("1", HOST), ("self", &own)], &["private", "bound"], "x");
        assert_eq!(bound, (path("bound", 2), None), "the host's root is closed");
        let named = found(&[("1", HOST), ("self", PRIVATE)], &["private", "named"], "named");
        assert_eq!(named, (path("named", 2), None));
        let alone = found(&[("1", HOST), ("self", PRIVATE)], &["private"], "x");
        let reason = "/sys/fs/cgroup of the host is out of reach".to_owned();
        assert_eq!(alone, (path("private", 0), Some(reason)));
    }

    #[test]
    fn roots_that_show_a_part_of_the_hierarchy_do_not_count() {
        let found = ["/", "/..", "/../../..", "/docker/x", "/../x", ""].map(levels_above);
        assert_eq!(found, [Some(0), Some(1), Some(3), None, None, None]);
    }

    #[test]
    fn a_node_full_of_mounts_is_read_to_its_end() {
        let mount = "9 1 0:99 / /var/lib/kubelet/pods/x/volumes rw - tmpfs tmpfs rw\n";
        let list = mount.repeat(10_000) + "1 1 0:30 / ROOT/cgroup rw - cgroup2 cgroup2 rw\n";
        let root = machine(&[("self", &list)], &["cgroup"]);
        assert_eq!(CgroupMounts::discover(root.path(), Path::new(USUAL_ROOT)).layout(), Layout::V2);
    }

    #[test]
    fn absent_is_told_from_unreadable() {
        let root = machine(&[("1", ""), ("self", "")], &[]);
        let mounts = CgroupMounts::discover(root.path(), Path::new(USUAL_ROOT));
        assert_eq!((mounts.layout(), mounts.failure()), (Layout::Absent, None));
        let root = machine(&[], &[]);
        let mounts = CgroupMounts::discover(root.path(), Path::new(USUAL_ROOT));
        let failure = mounts.failure().unwrap();
        assert!(failure.starts_with(&root.path().join("1/mountinfo").display().to_string()), "{failure}");
        assert!(failure.contains("could not be read"), "{failure}");
    }
}
