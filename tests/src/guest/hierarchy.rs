//! The guest's control groups: a group has one path in every hierarchy that is mounted. A guest has the unified hierarchy
//! alone, or v1 hierarchies beside it, as its kernel's command line says.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};

const ROOT: &str = "/sys/fs/cgroup";
const UNIFIED: &str = "/sys/fs/cgroup/unified";
/// What xtask gives a guest that is to have v1 hierarchies.
const WANT_V1: &str = "sonde.cgroup=v1";
/// Directory and controllers, as systemd mounts them.
const V1: [(&str, &CStr); 4] =
    [("cpu,cpuacct", c"cpu,cpuacct"), ("memory", c"memory"), ("blkio", c"blkio"), ("pids", c"pids")];

/// Mounts the hierarchies.
///
/// # Errors
/// Names the one that the kernel refuses.
pub(super) fn mount_all() -> Result<()> {
    let command_line = fs::read_to_string("/proc/cmdline").context("read the command line")?;
    if !command_line.split_whitespace().any(|word| word == WANT_V1) {
        return mount_at(Path::new(ROOT), "cgroup2", None);
    }
    mount_at(Path::new(ROOT), "tmpfs", None)?;
    mount_at(Path::new(UNIFIED), "cgroup2", None)?;
    for (directory, controllers) in V1 {
        mount_at(&Path::new(ROOT).join(directory), "cgroup", Some(controllers))?;
    }
    // As systemd does; newer kernels know nothing else and may refuse the word.
    let _ = fs::write("/sys/fs/cgroup/memory/memory.use_hierarchy", "1");
    Ok(())
}

fn mount_at(place: &Path, kind: &str, data: Option<&CStr>) -> Result<()> {
    // Directories of sysfs exist: the mount says which do not.
    let _ = fs::create_dir_all(place);
    mount(kind, place, kind, MountFlags::empty(), data)
        .with_context(|| format!("mount {kind} on {}", place.display()))
}

/// Whether there are v1 hierarchies.
pub(super) fn has_v1() -> bool {
    Path::new(UNIFIED).exists()
}

/// Where the unified hierarchy is.
pub(super) fn unified() -> &'static Path {
    Path::new(if has_v1() { UNIFIED } else { ROOT })
}

fn roots() -> Vec<PathBuf> {
    let v1 = V1.iter().filter(|_| has_v1()).map(|(directory, _)| Path::new(ROOT).join(directory));
    v1.chain([unified().to_owned()]).collect()
}

/// Makes a group in every hierarchy.
///
/// # Errors
/// When the kernel refuses one.
pub(super) fn create(group: &str) -> Result<()> {
    roots().iter().try_for_each(|root| {
        let directory = root.join(&group[1..]);
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))
    })
}

/// Moves this process into a group, which is made when there is none.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn enter(group: &str) -> Result<()> {
    create(group)?;
    roots().iter().try_for_each(|root| {
        let file = root.join(&group[1..]).join("cgroup.procs");
        fs::write(&file, std::process::id().to_string()).with_context(|| format!("write {}", file.display()))
    })
}

/// Lets the groups below those on the way to this one have controllers of the unified hierarchy: `+memory +cpu`.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn hand_down(group: &str, controllers: &str) -> Result<()> {
    let mut above: Vec<&Path> = Path::new(&group[1..]).ancestors().skip(1).collect();
    above.reverse();
    above.iter().try_for_each(|path| {
        let file = unified().join(path).join("cgroup.subtree_control");
        fs::write(&file, controllers).with_context(|| format!("write {}", file.display()))
    })
}

/// A file of a group, in whichever hierarchy has it.
///
/// # Errors
/// When none has.
pub(super) fn file(group: &str, name: &str) -> Result<PathBuf> {
    let files = roots().into_iter().map(|root| root.join(&group[1..]).join(name));
    files.into_iter().find(|file| file.exists()).with_context(|| format!("{group} has no {name}"))
}

/// Writes to a file of a group.
///
/// # Errors
/// When there is none, or the kernel refuses.
pub(super) fn set(group: &str, name: &str, value: &str) -> Result<()> {
    let file = file(group, name)?;
    fs::write(&file, value).with_context(|| format!("write {value} to {}", file.display()))
}

/// A number in a file of a group: the whole file, or what follows this key at the begin of a line.
///
/// # Errors
/// When there is none.
pub(super) fn number(group: &str, name: &str, key: &str) -> Result<f64> {
    let file = file(group, name)?;
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let value =
        text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}in {text}"))?;
    value.trim().parse().with_context(|| format!("read {value} of {}", file.display()))
}
