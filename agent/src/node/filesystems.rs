//! File systems of process 1's mount namespace: their sizes, and what is free.
//!
//! `statfs` on a file system whose server is gone waits for as long as the server stays away, so nobody else ever waits for
//! it: a thread asks, the reader takes what has been answered within a moment, and what stays unanswered is left out
//! until it is. Where process 1's root directory is closed, the agent's own mounts are shown.

mod mounts;
mod survey;

use std::fs;
use std::path::{Path, PathBuf};

pub(super) use mounts::Mount;
use survey::Survey;

use crate::model::BootNanos;

/// Space and files of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Size, bytes.
    pub size: u64,
    /// Free, with what is reserved for root, bytes.
    pub free: u64,
    /// Free for everybody, bytes.
    pub available: u64,
    /// Files that fit; 0 where there is no limit.
    pub inodes: u64,
    /// Files that still fit.
    pub inodes_free: u64,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Where, as process 1 sees it.
    pub mount_point: Box<str>,
    /// What: a device, or the name of a share.
    pub device: Box<str>,
    /// Its type.
    pub fstype: Box<str>,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// What it answered; `None` while it hangs, or when it refuses.
    pub usage: Option<Usage>,
}

/// File systems without series, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Above the bound.
    pub overflow: usize,
    /// Without an answer so far.
    pub hanging: usize,
    /// With an error as answer.
    pub failed: usize,
}

/// What one look brought.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The file systems, in the order of their mounts.
    pub shown: Vec<Filesystem>,
    /// How many others there are.
    pub hidden: Hidden,
    /// Why these are not those of process 1, or none.
    pub reason: Option<String>,
}

/// Reads the file systems again and again.
#[derive(Debug, Default)]
pub struct Filesystems {
    survey: Survey,
}

impl Filesystems {
    /// The file systems of the host whose procfs is at `proc_root`. Takes at most a moment, whatever they do.
    pub fn read(&mut self, proc_root: &Path, now: BootNanos) -> Look {
        let View { table, root, reason } = match view(proc_root) {
            Ok(view) => view,
            Err(reason) => return Look { reason: Some(reason), ..Look::default() },
        };
        let (mounts, overflow) = mounts::select(&table);
        let answers = self.survey.ask(&mounts, &root, now);
        let mut look = Look { reason, hidden: Hidden { overflow, ..Hidden::default() }, ..Look::default() };
        for (mount, answer) in mounts.into_iter().zip(answers) {
            let usage = match answer {
                survey::Answer::Usage(usage) => Some(usage),
                survey::Answer::Pending => None,
                survey::Answer::Failed => {
                    look.hidden.failed += 1;
                    None
                }
            };
            look.hidden.hanging += usize::from(answer == survey::Answer::Pending);
            // What has no size, as control groups do, is no place to put files.
            if usage.is_none_or(|usage| usage.size > 0) {
                look.shown.push(mount.with(usage));
            }
        }
        look
    }
}

/// A table of mounts, and where its paths begin for the agent.
struct View {
    table: String,
    root: PathBuf,
    reason: Option<String>,
}

/// Process 1's mounts when its root directory is open, or when the agent shares them; otherwise the agent's own.
fn view(proc_root: &Path) -> Result<View, String> {
    let read = |process: &str| {
        let path = proc_root.join(process).join("mountinfo");
        fs::read(&path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let root = proc_root.join("1/root");
    let host = read("1");
    if let (Ok(table), Ok(_)) = (&host, root.read_dir()) {
        return Ok(View { table: table.clone(), root, reason: None });
    }
    let own = read("self")?;
    let root = PathBuf::from("/");
    // The ids of mounts are unique on a machine, so the same one belongs to the same namespace.
    let is_shared =
        host.is_ok_and(|host| mounts::root_id(&host).is_some_and(|id| mounts::root_id(&own) == Some(id)));
    let closed = "process 1's root directory is closed (CAP_SYS_PTRACE): these are the agent's own mounts";
    Ok(View { table: own, root, reason: (!is_shared).then(|| closed.to_owned()) })
}
