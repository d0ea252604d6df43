//! How large a file system is, asked by a thread that may hang: see [`aside`](crate::aside).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::aside::{self, Aside};
use crate::model::{DeviceId, HostPid, WorkloadIx};

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub size_bytes: u64,
    /// Used.
    pub used_bytes: u64,
    /// Free, but for the superuser only.
    pub reserved_bytes: u64,
}

/// What is asked: a mount point as a process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose volume it is.
    pub workload: WorkloadIx,
    /// One of its processes.
    pub process: HostPid,
    /// Path inside the container.
    pub mount_point: Arc<str>,
    /// What must be found there, where the file system has a number of its own.
    pub filesystem: Option<DeviceId>,
}

/// Asks for the room of file systems.
pub type Surveyor = Aside<Question>;

/// Asks the file systems that processes below `proc_root` see.
pub fn surveyor(proc_root: impl Into<PathBuf>) -> Surveyor {
    let proc_root = proc_root.into();
    Aside::new("volumes", move |question| space(&proc_root, question).map_err(|error| error.to_string()))
}

impl aside::Question for Question {
    /// Its room, or the reason why it is not known.
    type Answer = Result<Space, String>;

    /// A file system that hangs, hangs wherever it is mounted.
    fn is_about_the_same(&self, other: &Self) -> bool {
        match (self.filesystem, other.filesystem) {
            (Some(own), Some(other)) => own == other,
            _ => (self.workload, &self.mount_point) == (other.workload, &other.mount_point),
        }
    }
}

/// Asks one file system. The path is resolved inside the container and without links, which a container could turn
/// elsewhere after its mounts were read.
fn space(proc_root: &Path, question: &Question) -> io::Result<Space> {
    let path_only = OFlags::PATH | OFlags::CLOEXEC;
    let root = proc_root.join(format!("{}/root", question.process.0));
    let root = rustix::fs::open(root, path_only | OFlags::DIRECTORY, Mode::empty())?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(&root, &*question.mount_point, path_only, Mode::empty(), inside)?;
    let device = rustix::fs::fstat(&file)?.st_dev;
    let found = DeviceId { major: rustix::fs::major(device), minor: rustix::fs::minor(device) };
    if question.filesystem.is_some_and(|expected| expected != found) {
        return Err(io::Error::other("another file system is mounted there by now"));
    }
    let stat = rustix::fs::fstatvfs(&file)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space {
        size_bytes: bytes(stat.f_blocks),
        used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        reserved_bytes: bytes(stat.f_bfree.saturating_sub(stat.f_bavail)),
    })
}

#[cfg(test)]
mod tests;
