//! The host's table: opened when connection tracking is in use, by a thread of its own, and looked for again until then.
//!
//! Nothing is asked of a machine that tracks no connections: the question alone would make the kernel load its modules.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use super::namespaces;
use super::table::Table;
use crate::kernel::Verdict;
use crate::kernel::capabilities;
use crate::model::{BootNanos, NetnsId};

/// Between two looks whether connections are tracked now.
const LOOK_EVERY_NS: u64 = 10_000_000_000;
/// The start waits so long for the first answer, so that what is open then is asked for. The kernel may have to load
/// a module.
const START: Duration = Duration::from_secs(2);
/// Exists while connections are tracked; below the root of procfs.
const IN_USE: &str = "sys/net/netfilter/nf_conntrack_count";
/// `CAP_NET_ADMIN`.
const NET_ADMIN: u32 = 12;

/// The host's table, once it is there.
#[derive(Debug)]
pub struct Host {
    proc_root: PathBuf,
    /// The host's network namespace; 0 when it cannot be told.
    netns: NetnsId,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing to ask, or nobody who answers; looked at again later.
    Waiting {
        since: BootNanos,
        verdict: Verdict,
    },
    Opening(Receiver<io::Result<Table>>),
    Open(Table),
}

impl Host {
    /// Looks for the first time, and waits a moment for the answer.
    pub fn new(proc_root: &Path) -> Self {
        let start = BootNanos(0);
        let mut host = Self {
            proc_root: proc_root.to_owned(),
            netns: netns_of(&proc_root.join("1/ns/net")).or_else(own_netns).unwrap_or(NetnsId(0)),
            state: State::Waiting { since: start, verdict: Verdict::Disabled },
        };
        host.look(start);
        if let State::Opening(opened) = &host.state
            && let Ok(opened) = opened.recv_timeout(START)
        {
            host.state = settled(opened, start);
        }
        host
    }

    /// The host's network namespace; 0 when it cannot be told.
    pub fn netns(&self) -> NetnsId {
        self.netns
    }

    /// The table, if it can be asked.
    pub fn table(&mut self) -> Option<&mut Table> {
        match &mut self.state {
            State::Open(table) => Some(table),
            _ => None,
        }
    }

    /// Goes on where something is to be waited for.
    pub fn poll(&mut self, now: BootNanos) {
        match &self.state {
            State::Opening(opened) => match opened.try_recv() {
                Ok(opened) => self.state = settled(opened, now),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    self.state = settled(Err(io::Error::other("the thread that asks ended")), now);
                }
            },
            State::Waiting { since, .. } if now.since(*since) >= LOOK_EVERY_NS => self.look(now),
            _ => {}
        }
    }

    /// What became of it.
    pub fn verdict(&self) -> Verdict {
        match &self.state {
            State::Waiting { verdict, .. } => verdict.clone(),
            State::Opening(_) => idle("asking the kernel for the first time"),
            State::Open(_) => Verdict::Ok { choice: "netlink/conntrack".to_owned(), refused: Vec::new() },
        }
    }

    fn look(&mut self, now: BootNanos) {
        let waiting = |verdict| State::Waiting { since: now, verdict };
        self.state = if !self.proc_root.join(IN_USE).exists() {
            waiting(idle("this machine tracks no connections, so it translates none"))
        } else if !capabilities::holds(NET_ADMIN) {
            waiting(Verdict::Broken { reason: "missing CAP_NET_ADMIN".to_owned() })
        } else {
            match self.open() {
                Ok(opening) => State::Opening(opening),
                Err(error) => settled(Err(error), now),
            }
        };
    }

    fn open(&self) -> io::Result<Receiver<io::Result<Table>>> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let host = self.proc_root.join("1/ns/net");
        let elsewhere = own_netns() != Some(self.netns) && self.netns != NetnsId(0);
        let wanted = elsewhere.then_some((host, self.netns));
        std::thread::Builder::new().name("conntrack".to_owned()).spawn(move || {
            let opened = match wanted {
                Some((path, netns)) => namespaces::enter(&path, netns).and_then(|()| Table::open()),
                None => Table::open(),
            };
            let answers = opened.and_then(|mut table| table.probe().map(|()| table));
            // Nobody waits any more when the agent ends.
            let _ = sender.send(answers);
        })?;
        Ok(receiver)
    }
}

fn settled(opened: io::Result<Table>, now: BootNanos) -> State {
    match opened {
        Ok(table) => State::Open(table),
        Err(error) => State::Waiting { since: now, verdict: verdict_on(&error) },
    }
}

fn verdict_on(error: &io::Error) -> Verdict {
    let reason = error.to_string();
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        // Without the part of connection tracking that answers, its subsystem is not a valid one.
        Some(
            rustix::io::Errno::INVAL | rustix::io::Errno::PROTONOSUPPORT | rustix::io::Errno::AFNOSUPPORT,
        ) => Verdict::Unsupported {
            reason: format!("the kernel's connection tracking has no netlink: {reason}"),
        },
        _ => Verdict::Broken { reason: format!("ask connection tracking: {reason}") },
    }
}

fn idle(why: &str) -> Verdict {
    Verdict::Ok { choice: why.to_owned(), refused: Vec::new() }
}

fn own_netns() -> Option<NetnsId> {
    netns_of(Path::new("/proc/self/ns/net"))
}

/// The namespace behind a link of `/proc/<pid>/ns`.
fn netns_of(path: &Path) -> Option<NetnsId> {
    u32::try_from(fs::metadata(path).ok()?.ino()).ok().map(NetnsId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_tracks_nothing_is_asked_nothing_until_it_does() {
        let root = tempfile::tempdir().unwrap();
        let mut host = Host::new(root.path());
        assert!(host.table().is_none());
        assert!(host.verdict().is_ok() && host.verdict().detail().contains("tracks no connections"));
        let count = root.path().join(IN_USE);
        fs::create_dir_all(count.parent().unwrap()).unwrap();
        fs::write(count, "0\n").unwrap();
        host.poll(BootNanos(LOOK_EVERY_NS - 1));
        assert!(
            host.verdict().detail().contains("tracks no connections"),
            "it is not looked at all the time"
        );
        host.poll(BootNanos(LOOK_EVERY_NS));
        assert!(!host.verdict().detail().contains("tracks no connections"));
    }

    #[test]
    fn refusals_are_told_apart() {
        let verdict = |errno: rustix::io::Errno| verdict_on(&errno.into()).name();
        assert_eq!(verdict(rustix::io::Errno::INVAL), "unsupported");
        assert_eq!(verdict(rustix::io::Errno::PERM), "broken");
        assert_eq!(verdict(rustix::io::Errno::NOBUFS), "broken");
    }
}
