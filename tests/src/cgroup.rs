//! Control groups like those that systemd makes for a service and Docker for a container, on cgroup v1, v2 and hybrid
//! machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// One path in every hierarchy that is mounted and matters; removed when dropped.
#[derive(Debug)]
struct Groups(Vec<PathBuf>);

impl Groups {
    #[track_caller]
    fn new(path: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let mounts: Vec<PathBuf> = if root.join("cgroup.controllers").exists() {
            vec![root.to_owned()]
        } else {
            let mounts = ["unified", "systemd", "memory", "cpu", "cpuacct"].map(|name| root.join(name));
            mounts.into_iter().filter(|mount| mount.join("cgroup.procs").exists()).collect()
        };
        let directories: Vec<PathBuf> = mounts.iter().map(|mount| mount.join(&path[1..])).collect();
        for directory in &directories {
            fs::create_dir_all(directory)
                .unwrap_or_else(|error| panic!("create {}: {error}", directory.display()));
        }
        Self(directories)
    }

    fn command(&self, program: &str) -> Command {
        let moves = self.0.iter().map(|directory| format!("echo $$ > {}/cgroup.procs", directory.display()));
        let script = moves.chain(["exec \"$0\" \"$@\"".to_owned()]).collect::<Vec<_>>().join(" && ");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program]);
        command
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for directory in &self.0 {
            remove(directory);
            // The parent goes when this was its only group.
            let _ = directory.parent().map(fs::remove_dir);
        }
    }
}

/// Removes a group, and first those that whoever ran inside has made. Refused while a process is inside, which its guard
/// ends before.
fn remove(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .for_each(|entry| remove(&entry.path()));
    let _ = fs::remove_dir(directory);
}

/// The group of a service.
#[derive(Debug)]
pub struct ServiceCgroup {
    id: String,
    groups: Groups,
}

impl ServiceCgroup {
    /// Makes the groups of `<name>-<pid>-<number>.service`.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("/system.slice/{name}-{}-{number}.service", std::process::id());
        let groups = Groups::new(&id);
        Self { id, groups }
    }

    /// The label that the agent gives it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its directory on the unified hierarchy.
    pub fn unified(&self) -> &Path {
        // The first of the hierarchies, or the only one.
        &self.groups.0[0]
    }

    /// A command that runs `program` in the group; it becomes the program under the same process id.
    pub fn command(&self, program: &str) -> Command {
        self.groups.command(program)
    }
}

/// The group of a container that Docker does not know: whoever asks for its name gets none.
#[derive(Debug)]
pub struct ContainerCgroup {
    id: String,
    groups: Groups,
}

impl ContainerCgroup {
    /// Makes the groups of a container; its id is made of the number and of this process'.
    #[track_caller]
    pub fn new(number: u32) -> Self {
        let id = format!("{:06x}{number:06x}{:052x}", std::process::id(), 0);
        let groups = Groups::new(&format!("/docker/{id}"));
        Self { id, groups }
    }

    /// The label that the agent gives it.
    pub fn id(&self) -> String {
        format!("/docker/{}", &self.id[..12])
    }

    /// A command that runs `program` in the group; it becomes the program under the same process id.
    pub fn command(&self, program: &str) -> Command {
        self.groups.command(program)
    }
}

/// Which of the two kinds of hierarchy a group is made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The v1 hierarchies of memory and CPU.
    V1,
    /// The unified one.
    V2,
}

impl Version {
    /// Mounts of this machine; none where it has no such hierarchy.
    fn mounts(self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let mounts = match self {
            Self::V1 => ["memory", "cpu", "cpuacct"].map(|name| root.join(name)).to_vec(),
            Self::V2 => vec![root.to_owned(), root.join("unified")],
        };
        let file = if self == Self::V1 { "tasks" } else { "cgroup.controllers" };
        mounts.into_iter().filter(|mount| mount.join(file).exists()).collect()
    }
}

/// A group at any path, in the hierarchies of one version only; removed when dropped, with the groups around it that are
/// empty then.
#[derive(Debug)]
pub struct PathCgroup {
    directories: Vec<PathBuf>,
}

impl PathCgroup {
    /// Makes the group; `None` where the machine has no hierarchy of that version.
    #[track_caller]
    pub fn new(version: Version, path: &str) -> Option<Self> {
        let mounts = version.mounts();
        let directories: Vec<_> =
            mounts.iter().map(|mount| mount.join(path.trim_start_matches('/'))).collect();
        for directory in &directories {
            fs::create_dir_all(directory)
                .unwrap_or_else(|error| panic!("create {}: {error}", directory.display()));
        }
        (!directories.is_empty()).then_some(Self { directories })
    }

    /// Writes a file of the group in every hierarchy that has it there; says whether any does.
    #[track_caller]
    pub fn set(&self, file: &str, value: &str) -> bool {
        let files: Vec<_> = self
            .directories
            .iter()
            .map(|directory| directory.join(file))
            .filter(|file| file.exists())
            .collect();
        for file in &files {
            fs::write(file, value).unwrap_or_else(|error| panic!("write {}: {error}", file.display()));
        }
        !files.is_empty()
    }

    /// A command that runs `program` in the group; it becomes the program under the same process id.
    pub fn command(&self, program: &str) -> Command {
        let moves = self
            .directories
            .iter()
            .map(|directory| format!("echo $$ > '{}/cgroup.procs'", directory.display()));
        let script = moves.chain(["exec \"$0\" \"$@\"".to_owned()]).collect::<Vec<_>>().join(" && ");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program]);
        command
    }
}

impl Drop for PathCgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // Ends where another group is inside, at the mount at the latest.
            let _ = directory.ancestors().take_while(|group| fs::remove_dir(group).is_ok()).count();
        }
    }
}
