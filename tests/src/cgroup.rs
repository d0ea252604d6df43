//! A control group like the one systemd makes for a service, on cgroup v1, v2 and hybrid machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The group of a service, in every hierarchy that systemd would use; removed when dropped.
#[derive(Debug)]
pub struct ServiceCgroup {
    id: String,
    directories: Vec<PathBuf>,
}

impl ServiceCgroup {
    /// Makes the groups of `<name>-<pid>.service`.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let id = format!("/system.slice/{name}-{}.service", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let mounts: Vec<PathBuf> = if root.join("cgroup.controllers").exists() {
            vec![root.to_owned()]
        } else {
            let mounts = ["unified", "systemd", "memory", "cpu", "cpuacct"].map(|name| root.join(name));
            mounts.into_iter().filter(|mount| mount.join("cgroup.procs").exists()).collect()
        };
        let directories: Vec<PathBuf> = mounts.iter().map(|mount| mount.join(&id[1..])).collect();
        for directory in &directories {
            fs::create_dir_all(directory)
                .unwrap_or_else(|error| panic!("create {}: {error}", directory.display()));
        }
        Self { id, directories }
    }

    /// The label that the agent gives it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A command that runs `program` in the group; it becomes the program under the same process id.
    pub fn command(&self, program: &str) -> Command {
        let moves = self
            .directories
            .iter()
            .map(|directory| format!("echo $$ > {}/cgroup.procs", directory.display()));
        let script = moves.chain(["exec \"$0\" \"$@\"".to_owned()]).collect::<Vec<_>>().join(" && ");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program]);
        command
    }
}

impl Drop for ServiceCgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // Refused while a process is inside, which its guard ends before.
            let _ = fs::remove_dir(directory);
            // The slice goes when this was its only service.
            let _ = directory.parent().map(fs::remove_dir);
        }
    }
}
