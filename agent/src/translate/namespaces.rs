//! Tables of other network namespaces: a service mesh's redirection, the DNS of a container runtime, and whatever else
//! is translated before a packet leaves its container.
//!
//! A socket keeps its namespace alive, so none is kept for longer than [`KEEP_NS`]. A namespace that tracks nothing is
//! not entered. To enter one takes `CAP_SYS_ADMIN`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::table::Table;
use crate::enrich::netns;
use crate::kernel::{Verdict, capabilities};
use crate::model::{BootNanos, HostPid, NetnsId};

/// A namespace that is gone otherwise lives on for so long.
const KEEP_NS: u64 = 5_000_000_000;
/// Between two looks at a namespace that tracked nothing.
const LOOK_AGAIN_NS: u64 = 1_000_000_000;
/// Between two tries to enter one that could not be entered.
const TRY_AGAIN_NS: u64 = 30_000_000_000;
/// Sockets at once: most nodes have fewer pods than that, and few of those open connections in the same seconds.
const MAX_OPEN: usize = 64;
/// Namespaces remembered.
const MAX_KNOWN: usize = 4096;
/// The first line of values stands within so many bytes.
const STATISTICS_BYTES: u64 = 1024;
/// `CAP_SYS_ADMIN`.
const SYS_ADMIN: u32 = 21;

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Namespaces entered, again and again.
    pub entered: u64,
    /// Tries to enter one that failed.
    pub failed: u64,
}

/// What is known of one namespace.
#[derive(Debug)]
enum Known {
    Open {
        table: Box<Table>,
        until: BootNanos,
    },
    /// Not worth a look before.
    Closed {
        until: BootNanos,
    },
}

impl Known {
    fn until(&self) -> BootNanos {
        match self {
            Self::Open { until, .. } | Self::Closed { until } => *until,
        }
    }
}

/// Tables of other network namespaces.
#[derive(Debug)]
pub struct Namespaces {
    proc_root: PathBuf,
    may_enter: bool,
    known: HashMap<NetnsId, Known>,
    open: usize,
    stats: Stats,
}

impl Namespaces {
    /// None is known yet.
    pub fn new(proc_root: &Path) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            may_enter: capabilities::holds(SYS_ADMIN),
            known: HashMap::new(),
            open: 0,
            stats: Stats::default(),
        }
    }

    /// The table of a namespace that tracks connections, reached through the first of these processes that is still
    /// alive in it.
    pub fn table(&mut self, netns: NetnsId, pids: &[HostPid], now: BootNanos) -> Option<&mut Table> {
        if !self.may_enter {
            return None;
        }
        if self.known.get(&netns).is_none_or(|known| known.until() <= now) {
            self.forget(netns);
            let known = self.find(netns, pids, now)?;
            self.open += usize::from(matches!(known, Known::Open { .. }));
            self.known.insert(netns, known);
        }
        match self.known.get_mut(&netns) {
            Some(Known::Open { table, .. }) => Some(table),
            _ => None,
        }
    }

    /// Lets go of what is over.
    pub fn expire(&mut self, now: BootNanos) {
        if self.known.is_empty() {
            return;
        }
        self.known.retain(|_, known| known.until() > now);
        self.open = self.known.values().filter(|known| matches!(known, Known::Open { .. })).count();
    }

    /// Counters, and the sockets open now.
    pub fn stats(&self) -> (Stats, usize) {
        (self.stats, self.open)
    }

    /// What became of it.
    pub fn verdict(&self) -> Verdict {
        match self.may_enter {
            true => Verdict::Ok { choice: "setns".to_owned(), refused: Vec::new() },
            false => Verdict::Unsupported { reason: "missing CAP_SYS_ADMIN".to_owned() },
        }
    }

    fn forget(&mut self, netns: NetnsId) {
        if let Some(Known::Open { .. }) = self.known.remove(&netns) {
            self.open -= 1;
        }
    }

    /// `None` when there is no room, or nobody through whom to look.
    fn find(&mut self, netns: NetnsId, pids: &[HostPid], now: BootNanos) -> Option<Known> {
        if self.known.len() >= MAX_KNOWN {
            return None;
        }
        let pid = pids.iter().find(|pid| netns::is_in(&self.proc_root, **pid, netns))?;
        if !tracks(&self.directory(*pid)) {
            return Some(Known::Closed { until: now.after(LOOK_AGAIN_NS) });
        }
        if self.open >= MAX_OPEN {
            return None;
        }
        match open(self.directory(*pid).join("ns/net"), netns) {
            Ok(table) => {
                self.stats.entered += 1;
                Some(Known::Open { table: Box::new(table), until: now.after(KEEP_NS) })
            }
            Err(error) => {
                self.stats.failed += 1;
                tracing::debug!(netns = netns.0, %error, "failed to enter a network namespace");
                Some(Known::Closed { until: now.after(TRY_AGAIN_NS) })
            }
        }
    }

    fn directory(&self, pid: HostPid) -> PathBuf {
        self.proc_root.join(pid.0.to_string())
    }
}

/// Whether a process' network namespace tracks connections now; also when that cannot be told.
fn tracks(process: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(process.join("net/stat/nf_conntrack"))
        .and_then(|file| file.take(STATISTICS_BYTES).read_to_string(&mut text));
    read.is_err() || entries(&text) != Some(0)
}

/// The first value of the first line behind the names: all entries of the namespace, in hexadecimal digits.
fn entries(text: &str) -> Option<u64> {
    let word = text.lines().nth(1)?.split_ascii_whitespace().next()?;
    u64::from_str_radix(word, 16).ok()
}

/// Opens a table by a thread of its own, which ends with the namespace it moved to.
fn open(path: PathBuf, netns: NetnsId) -> io::Result<Table> {
    let thread = std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || enter(&path, netns).and_then(|()| Table::open()))?;
    thread.join().map_err(|_| io::Error::other("the thread that opens a table panicked"))?
}

/// Moves the calling thread into the namespace behind a link of `/proc/<pid>/ns`, if it is still the wanted one.
///
/// # Errors
/// Also when the process is gone or another one has its id.
pub(super) fn enter(path: &Path, netns: NetnsId) -> io::Result<()> {
    let namespace = File::open(path)?;
    if namespace.metadata()?.ino() != u64::from(netns.0) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const STATISTICS: &str = "entries  clashres found new\n0000001f  00000000 00000001 00000000\n";

    #[test]
    fn entries_are_hexadecimal_and_of_the_whole_namespace() {
        assert_eq!(entries(STATISTICS), Some(31));
        assert_eq!(entries(&STATISTICS.replace("1f", "00")), Some(0));
        assert_eq!(entries(""), None);
        assert_eq!(entries("entries\nmany\n"), None);
    }

    /// A namespace of this test's own process, as another one would be found.
    fn own() -> (Namespaces, NetnsId, HostPid) {
        let netns = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let namespaces = Namespaces { may_enter: true, ..Namespaces::new(Path::new("/proc")) };
        (namespaces, NetnsId(u32::try_from(netns).unwrap()), HostPid(std::process::id()))
    }

    #[test]
    fn processes_of_other_namespaces_and_dead_ones_are_no_way_in() {
        let (mut namespaces, netns, pid) = own();
        assert!(netns::is_in(&namespaces.proc_root, pid, netns));
        assert!(namespaces.table(NetnsId(netns.0 + 1), &[pid], BootNanos(0)).is_none());
        assert!(namespaces.table(netns, &[HostPid(u32::MAX)], BootNanos(0)).is_none());
        assert!(namespaces.known.is_empty(), "another process may be the way in");
        assert_eq!(
            enter(Path::new("/proc/self/ns/net"), NetnsId(1)).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn what_tracks_nothing_is_left_alone_for_a_while() {
        let (mut namespaces, netns, pid) = own();
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join(pid.0.to_string());
        fs::create_dir_all(directory.join("net/stat")).unwrap();
        fs::create_dir_all(directory.join("ns")).unwrap();
        std::os::unix::fs::symlink("/proc/self/ns/net", directory.join("ns/net")).unwrap();
        fs::write(directory.join("net/stat/nf_conntrack"), STATISTICS.replace("1f", "00")).unwrap();
        namespaces.proc_root = root.path().to_owned();
        assert!(namespaces.table(netns, &[pid], BootNanos(0)).is_none());
        assert_eq!(namespaces.stats(), (Stats::default(), 0), "nothing was entered");
        assert_eq!(namespaces.known.len(), 1);
        fs::write(directory.join("net/stat/nf_conntrack"), STATISTICS).unwrap();
        assert!(namespaces.table(netns, &[pid], BootNanos(LOOK_AGAIN_NS - 1)).is_none());
        let _ = namespaces.table(netns, &[pid], BootNanos(LOOK_AGAIN_NS));
        let (stats, open) = namespaces.stats();
        assert_eq!(stats.entered + stats.failed, 1, "now it was tried");
        namespaces.expire(BootNanos(LOOK_AGAIN_NS + KEEP_NS - 1));
        assert_eq!(namespaces.stats().1, open);
        namespaces.expire(BootNanos(LOOK_AGAIN_NS + TRY_AGAIN_NS));
        assert!(namespaces.known.is_empty() && namespaces.stats().1 == 0);
    }
}
