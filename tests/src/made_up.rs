//! A machine of files only: what the kernel would say of cgroups and processes, written by a test.
//!
//! Where a machine lacks something (swap, discards, another version of cgroups), the agent reads it here all the same, by
//! the paths and formats of the kernel. It has to be told both roots, and to list processes from `/proc`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::product::Sonde;

/// The files of the machine.
#[derive(Debug)]
pub struct MadeUp {
    directory: TempDir,
}

impl MadeUp {
    /// A machine with these cgroup mounts: the type of file system, where below `/sys/fs/cgroup`, and the controllers.
    #[track_caller]
    pub fn new(mounts: &[(&str, &str, &str)]) -> Self {
        let made_up = Self { directory: tempfile::tempdir().expect("create a directory for a machine") };
        let lines: Vec<String> = mounts
            .iter()
            .map(|(kind, at, options)| {
                let at = Path::new("/sys/fs/cgroup").join(at);
                format!("30 20 0:30 / {} rw - {kind} {kind} rw,{options}\n", at.display())
            })
            .collect();
        for (_, at, _) in mounts {
            fs::create_dir_all(made_up.cgroup_root().join(at)).expect("create a hierarchy");
        }
        made_up.link_proc();
        for process in ["1", "self"] {
            made_up.proc(&format!("{process}/mountinfo"), &lines.concat());
        }
        made_up
    }

    /// An agent of this machine, which is not running yet.
    pub fn agent(&self) -> Sonde {
        let probes = ["tcp", "process", "cgroup", "block", "net", "udp", "dns"];
        let agent =
            Sonde::agent().with("--proc-root", self.proc_root()).with("--cgroup-root", self.cgroup_root());
        probes.iter().fold(agent, |agent, probe| agent.with("--probe", format!("{probe}=off")))
    }

    /// Writes a file below the root of the cgroups.
    #[track_caller]
    pub fn cgroup(&self, path: &str, text: &str) {
        write(&self.cgroup_root().join(path), text);
    }

    /// Writes a file below the root of processes.
    #[track_caller]
    pub fn proc(&self, path: &str, text: &str) {
        write(&self.proc_root().join(path), text);
    }

    /// A path of process 1's root, with the directories around it.
    #[track_caller]
    pub fn host_path(&self, path: &str) -> PathBuf {
        let path = self.proc_root().join("1/root").join(path);
        fs::create_dir_all(path.parent().expect("a file stands in a directory")).expect("create a directory");
        path
    }

    /// A process with one thread, in these groups (lines of `/proc/<pid>/cgroup`), that sees these mounts.
    #[track_caller]
    pub fn process(&self, pid: u32, groups: &str, mountinfo: &str) {
        // proc(5): state, parent, group, session, terminal, its group, flags, … num_threads, 0, starttime.
        let stat = format!("{pid} (made-up) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 250 0 0\n");
        self.proc(&format!("{pid}/stat"), &stat);
        self.proc(&format!("{pid}/cgroup"), groups);
        self.proc(&format!("{pid}/mountinfo"), mountinfo);
    }

    fn proc_root(&self) -> PathBuf {
        self.directory.path().join("proc")
    }

    fn cgroup_root(&self) -> PathBuf {
        self.directory.path().join("cgroup")
    }

    /// What is of the machine as a whole is the real one's, but for its disks.
    fn link_proc(&self) {
        let root = self.proc_root();
        fs::create_dir(&root).expect("create a directory");
        for entry in fs::read_dir("/proc").expect("list /proc") {
            let name = entry.expect("read an entry of /proc").file_name();
            let text = name.to_str().expect("names in /proc are ASCII");
            let is_process = text.starts_with(|c: char| c.is_ascii_digit());
            if !is_process && !["self", "thread-self", "diskstats"].contains(&text) {
                symlink(Path::new("/proc").join(text), root.join(text)).expect("link into /proc");
            }
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file stands in a directory")).expect("create a directory");
    fs::write(path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
