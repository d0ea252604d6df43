//! Datagrams: per workload, what its processes sent, received and lost over UDP.
//!
//! The kernel half counts per process, and its counters only grow; this table adds what is new to the workload. An entry
//! is forgotten in two steps, so that not a byte is lost: a process found gone after one reading has said its last word
//! by the next one. Drops are counted per socket, by its inode, from two sources that may arrive in any order.

use std::collections::{HashMap, HashSet};

use crate::model::{BootNanos, Claim, DatagramOwner, Datagrams as Counted, WorkloadIx};

/// UDP sockets whose drops are followed at once; more would be more than a node has ports in a few namespaces.
const SOCKETS_MAX: usize = 65_536;

/// A cgroup of which packets alone are seen is forgotten after it was silent for so long, nanoseconds.
const SILENCE_NS: u64 = 600_000_000_000;

/// Traffic of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent and received.
    pub counted: Counted,
    /// Whether anything was counted at all.
    pub is_counted: bool,
    /// Whether failures are seen: where packets are counted, they are not.
    pub has_errors: bool,
    /// Datagrams that arrived and were dropped at a socket; `None` until a socket was seen.
    pub dropped: Option<u64>,
}

/// What happened to the table itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages whose owner could not be told.
    pub unowned: u64,
    /// Sockets whose drops are not followed because the table was full.
    pub sockets_refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    workload: Option<WorkloadIx>,
    /// What was counted so far.
    counted: Counted,
    /// Its process was found gone: the next reading is the last.
    gone: bool,
    /// The reading that saw it last; 0 before the first.
    seen: u64,
    /// When its counters were last seen to change.
    changed: BootNanos,
}

#[derive(Clone, Copy, Debug)]
struct Socket {
    /// Whose it was at the end of the last pass.
    workload: Option<WorkloadIx>,
    /// The best claim to it in the last pass that saw it.
    claim: Claim,
    /// Of which so many were counted.
    drops: u64,
    counted: u64,
    seen: BootNanos,
}

/// Traffic of all workloads.
#[derive(Debug, Default)]
pub struct Datagrams {
    entries: HashMap<DatagramOwner, Entry>,
    sockets: HashMap<u64, Socket>,
    traffic: HashMap<WorkloadIx, Traffic>,
    /// Owners announced since the last reading.
    announced: usize,
    reading: u64,
    now: BootNanos,
    /// A pass over all sockets is over: what is new from now on began at zero.
    has_baseline: bool,
    stats: Stats,
}

impl Datagrams {
    /// A process used UDP for the first time.
    pub fn announce(&mut self, owner: DatagramOwner, workload: Option<WorkloadIx>) {
        self.announced += 1;
        self.entry(owner, || workload);
    }

    /// How many processes were announced since the last reading.
    pub fn announced(&self) -> usize {
        self.announced
    }

    /// Begins a reading of the kernel half's counters.
    pub fn begin_reading(&mut self, now: BootNanos) {
        self.reading += 1;
        self.now = now;
        self.announced = 0;
    }

    /// Takes the counters of an owner; `workload` tells whose they are, when that is not known yet.
    pub fn count(
        &mut self,
        owner: DatagramOwner,
        now: Counted,
        workload: impl FnOnce() -> Option<WorkloadIx>,
    ) {
        let (reading, at) = (self.reading, self.now);
        let entry = self.entry(owner, workload);
        let new = now - entry.counted;
        if now != entry.counted {
            (entry.changed, entry.gone) = (at, entry.gone && owner.tgid != 0);
        }
        (entry.counted, entry.seen) = (now, reading);
        match entry.workload {
            Some(workload) => {
                let traffic = self.traffic.entry(workload).or_default();
                traffic.counted += new;
                (traffic.is_counted, traffic.has_errors) = (true, traffic.has_errors || owner.tgid != 0);
            }
            None => self.stats.unowned += new.sent + new.received,
        }
    }

    /// Ends a reading: returns the owners that have said their last word, which the kernel half may forget too.
    /// `is_alive` tells whether a process still is.
    pub fn finish_reading(&mut self, mut is_alive: impl FnMut(&DatagramOwner) -> bool) -> Vec<DatagramOwner> {
        let (reading, now) = (self.reading, self.now);
        let mut last_words = Vec::new();
        self.entries.retain(|owner, entry| {
            // A reading may end early. What was announced but never seen is not in the map, which was full.
            let is_last = entry.gone && (entry.seen == reading || entry.seen == 0);
            if is_last && entry.seen != 0 {
                last_words.push(*owner);
            }
            entry.gone = match owner.tgid {
                0 => now.since(entry.changed) >= SILENCE_NS,
                _ => !is_alive(owner),
            };
            !is_last
        });
        last_words
    }

    /// Takes what an open socket dropped so far, found by a pass that began at `pass`: once for each process that holds it.
    /// It is counted when the pass has met all of them.
    pub fn found(&mut self, inode: u64, drops: u64, claim: Claim, pass: BootNanos) {
        if self.sockets.len() >= SOCKETS_MAX && !self.sockets.contains_key(&inode) {
            self.stats.sockets_refused += 1;
            return;
        }
        // Before the agent's time nothing was ours.
        let counted = if self.has_baseline { 0 } else { drops };
        let fresh = Socket { workload: claim.workload, claim, drops, counted, seen: pass };
        let socket = self.sockets.entry(inode).or_insert(fresh);
        socket.claim = if socket.seen == pass { socket.claim.or_better(claim) } else { claim };
        (socket.drops, socket.seen) = (drops.max(socket.drops), pass);
    }

    /// Ends a pass over all open sockets.
    pub fn finish_pass(&mut self, pass: BootNanos) {
        self.sockets.retain(|_, socket| socket.seen >= pass);
        for socket in self.sockets.values_mut() {
            socket.workload = socket.claim.workload.or(socket.workload);
            let new = socket.drops - std::mem::replace(&mut socket.counted, socket.drops);
            if let Some(workload) = socket.workload {
                drop_at(&mut self.traffic, workload, new);
            }
        }
        self.has_baseline = true;
    }

    /// Takes what a socket had dropped when it was closed.
    pub fn closed(&mut self, inode: u64, drops: u64, workload: Option<WorkloadIx>) {
        let known = self.sockets.remove(&inode);
        // What it had dropped before the agent came is not known of one that was there first, or found no room.
        if known.is_none() && (!self.has_baseline || self.stats.sockets_refused > 0) {
            return;
        }
        let (owner, before) = known.map_or((workload, 0), |socket| (socket.workload, socket.counted));
        if let Some(workload) = owner.or(workload) {
            drop_at(&mut self.traffic, workload, drops.saturating_sub(before));
        }
    }

    /// Traffic of every workload that has some, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (WorkloadIx, &Traffic)> {
        self.traffic.iter().map(|(workload, traffic)| (*workload, traffic))
    }

    /// Moves everything of a workload to another one that it turned out to be.
    pub fn merge_workload(&mut self, from: WorkloadIx, into: WorkloadIx) {
        let owners = self.entries.values_mut().map(|entry| &mut entry.workload);
        let owners = owners.chain(self.sockets.values_mut().map(|socket| &mut socket.workload));
        owners.filter(|workload| **workload == Some(from)).for_each(|workload| *workload = Some(into));
        if let Some(moved) = self.traffic.remove(&from) {
            let traffic = self.traffic.entry(into).or_default();
            traffic.counted += moved.counted;
            traffic.is_counted |= moved.is_counted;
            traffic.has_errors |= moved.has_errors;
            traffic.dropped = match (traffic.dropped, moved.dropped) {
                (None, None) => None,
                (one, other) => Some(one.unwrap_or(0) + other.unwrap_or(0)),
            };
        }
    }

    /// Forgets workloads that are gone. Whoever still uses them is asked about anew.
    pub fn drop_workloads(&mut self, retired: &[WorkloadIx]) {
        if retired.is_empty() {
            return;
        }
        let retired: HashSet<&WorkloadIx> = retired.iter().collect();
        self.traffic.retain(|workload, _| !retired.contains(workload));
        let owners = self.entries.values_mut().map(|entry| &mut entry.workload);
        let owners = owners.chain(self.sockets.values_mut().map(|socket| &mut socket.workload));
        for workload in owners.filter(|workload| workload.is_some_and(|ix| retired.contains(&ix))) {
            *workload = None;
        }
    }

    /// Owners followed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no owner is followed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counters about the table.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn entry(&mut self, owner: DatagramOwner, workload: impl FnOnce() -> Option<WorkloadIx>) -> &mut Entry {
        let counted = Counted::default();
        let fresh = Entry { workload: None, counted, gone: false, seen: 0, changed: self.now };
        let entry = self.entries.entry(owner).or_insert(fresh);
        if entry.workload.is_none() {
            entry.workload = workload();
        }
        entry
    }
}

fn drop_at(traffic: &mut HashMap<WorkloadIx, Traffic>, workload: WorkloadIx, new: u64) {
    *traffic.entry(workload).or_default().dropped.get_or_insert(0) += new;
}

#[cfg(test)]
#[path = "datagrams/tests.rs"]
mod tests;
