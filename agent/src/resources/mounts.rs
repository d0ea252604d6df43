//! Where the cgroup hierarchies are mounted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files;

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
}

impl Controller {
    fn from_option(option: &str) -> Option<Self> {
        Some(match option {
            "cpu" => Self::Cpu,
            "cpuacct" => Self::CpuAcct,
            "memory" => Self::Memory,
            "blkio" => Self::Blkio,
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

/// Paths by which the agent reaches the root of each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupMounts {
    v1: HashMap<Controller, PathBuf>,
    v2: Option<PathBuf>,
}

/// Where distributions mount cgroups, and the default of `--cgroup-root`.
const USUAL_ROOT: &str = "/sys/fs/cgroup";

impl CgroupMounts {
    /// Finds the mounts in the list of process 1 below `proc_root`, else in the agent's own.
    ///
    /// They are reached through process 1's root directory, since a container has a view of its own; where that is
    /// closed to the agent, by the plain path. A `cgroup_root` other than `/sys/fs/cgroup` replaces it in the paths.
    pub fn discover(proc_root: &Path, cgroup_root: &Path) -> Self {
        let host_root = proc_root.join("1/root");
        for process in ["1", "self"] {
            let mountinfo = files::text(&proc_root.join(process).join("mountinfo")).unwrap_or_default();
            let found = Self::parse(&mountinfo, |mount_point| reach(mount_point, &host_root, cgroup_root));
            if found.layout() != Layout::Absent {
                return found;
            }
        }
        Self::default()
    }

    fn parse(mountinfo: &str, reach: impl Fn(&str) -> PathBuf) -> Self {
        let mut mounts = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            let path = || reach(mount.mount_point);
            match mount.file_system {
                "cgroup2" if mounts.v2.is_none() => mounts.v2 = Some(path()),
                "cgroup" => {
                    for controller in mount.options.split(',').filter_map(Controller::from_option) {
                        mounts.v1.entry(controller).or_insert_with(path);
                    }
                }
                _ => {}
            }
        }
        mounts
    }

    /// Root of the v1 hierarchy that has a controller.
    pub fn v1(&self, controller: Controller) -> Option<&Path> {
        self.v1.get(&controller).map(PathBuf::as_path)
    }

    /// Root of the unified hierarchy.
    pub fn v2(&self) -> Option<&Path> {
        self.v2.as_deref()
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
}

fn reach(mount_point: &str, host_root: &Path, cgroup_root: &Path) -> PathBuf {
    if let Some(rest) = mount_point.strip_prefix(USUAL_ROOT).filter(|_| cgroup_root != Path::new(USUAL_ROOT))
    {
        return super::below(cgroup_root, rest);
    }
    let through_host = super::below(host_root, mount_point);
    if through_host.is_dir() { through_host } else { PathBuf::from(mount_point) }
}

struct Mount<'a> {
    mount_point: &'a str,
    file_system: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads one line; a mount that shows only a part of its hierarchy is left out.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let root = mount.next()?;
        let mount_point = mount.next()?;
        let mut words = file_system.split(' ');
        let file_system = words.next()?;
        let options = words.nth(1)?;
        (root == "/").then_some(Self { mount_point, file_system, options })
    }
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

    fn parse(text: &str) -> CgroupMounts {
        CgroupMounts::parse(text, |path| PathBuf::from(path))
    }

    #[test]
    fn a_hybrid_layout_has_both() {
        let mounts = parse(HYBRID);
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
            parse(&lines.join("\n")).layout()
        };
        assert_eq!(of("cgroup2"), Layout::V2);
        assert_eq!(of("rw,memory"), Layout::V1);
        assert_eq!(of("tmpfs"), Layout::Absent);
        assert_eq!(of("name=systemd"), Layout::Absent);
    }

    #[test]
    fn a_configured_root_replaces_the_usual_one() {
        let proc_root = tempfile::tempdir().unwrap();
        std::fs::create_dir(proc_root.path().join("1")).unwrap();
        std::fs::write(proc_root.path().join("1/mountinfo"), HYBRID).unwrap();
        let mounts = CgroupMounts::discover(proc_root.path(), Path::new("/host/cgroup"));
        assert_eq!(mounts.v2(), Some(Path::new("/host/cgroup/unified")));
        std::fs::create_dir_all(proc_root.path().join("1/root/sys/fs/cgroup/unified")).unwrap();
        let mounts = CgroupMounts::discover(proc_root.path(), Path::new(USUAL_ROOT));
        assert_eq!(mounts.v2(), Some(&*proc_root.path().join("1/root/sys/fs/cgroup/unified")));
        assert_eq!(mounts.v1(Controller::Memory), Some(Path::new("/sys/fs/cgroup/memory")));
    }

    #[test]
    fn without_any_mountinfo_there_is_nothing() {
        let proc_root = tempfile::tempdir().unwrap();
        assert_eq!(CgroupMounts::discover(proc_root.path(), Path::new(USUAL_ROOT)).layout(), Layout::Absent);
    }
}
