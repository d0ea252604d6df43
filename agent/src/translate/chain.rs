//! From table to table: a connection may be translated in its own network namespace, and again on its way through the
//! host's. Pure: who answers is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::message::{Protocol, Tuple};
use super::table::{Answer, Ask};
use crate::model::{HostPid, NetnsId};

/// Processes tried to reach one namespace; they may all be gone.
const WAYS_IN: usize = 8;

/// A connection that was opened here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its network namespace; 0 when unknown.
    pub netns: NetnsId,
    /// Processes that were seen in that namespace, and may be gone.
    pub pids: [Option<HostPid>; 3],
    /// Its own address.
    pub local: SocketAddr,
    /// The address it was connected to.
    pub remote: SocketAddr,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// To another address than it was connected to.
    Translated(SocketAddr),
    /// Where it was connected to: the tables know it so.
    Direct,
    /// No table knows it.
    Untracked,
    /// A table could not be asked.
    Failed,
    /// Nobody was asked.
    Skipped,
}

/// The tables that can be asked.
pub trait Tables {
    /// The host's namespace, if known.
    fn host(&self) -> NetnsId;
    /// The host's table.
    fn of_host(&mut self) -> Option<&mut dyn Ask>;
    /// The table of another namespace, reached through one of these processes.
    fn of(&mut self, netns: NetnsId, pids: &[HostPid]) -> Option<&mut dyn Ask>;
}

/// A question on its way.
struct Walk {
    /// `None` when the addresses cannot be asked for.
    tuple: Option<Tuple>,
    found: Found,
}

impl Walk {
    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Tracked(tuple) => {
                self.tuple = Some(tuple);
                self.found = Found::Direct;
            }
            // What one table knew stays known.
            Answer::Untracked if matches!(self.found, Found::Direct) => {}
            Answer::Untracked => self.found = Found::Untracked,
            Answer::Failed(_) => self.found = Found::Failed,
        }
    }
}

/// Follows all connections, first through their own namespaces, then through the host's.
pub fn follow(questions: &[Question], tables: &mut impl Tables) -> Vec<Found> {
    let walk = |question: &Question| Walk {
        tuple: Tuple::new(question.protocol, question.local, question.remote),
        found: Found::Skipped,
    };
    let mut walks: Vec<Walk> = questions.iter().map(walk).collect();
    let host = tables.host();
    let mut elsewhere: BTreeMap<NetnsId, Vec<usize>> = BTreeMap::new();
    for (index, question) in questions.iter().enumerate() {
        if ![host, NetnsId(0)].contains(&question.netns) {
            elsewhere.entry(question.netns).or_default().push(index);
        }
    }
    for (netns, indices) in elsewhere {
        let pids: BTreeSet<HostPid> =
            indices.iter().flat_map(|index| questions[*index].pids).flatten().collect();
        let pids: Vec<HostPid> = pids.into_iter().take(WAYS_IN).collect();
        if let Some(table) = tables.of(netns, &pids) {
            ask(table, &mut walks, indices.into_iter());
        }
    }
    let in_host = |index: &usize| {
        let here = [host, NetnsId(0)].contains(&questions[*index].netns);
        here || walks[*index].tuple.is_some_and(|tuple| !is_local(&tuple))
    };
    let indices: Vec<usize> = (0..questions.len()).filter(in_host).collect();
    if let Some(table) = tables.of_host() {
        ask(table, &mut walks, indices.into_iter());
    }
    walks.iter().zip(questions).map(|(walk, question)| conclude(walk, question)).collect()
}

/// Loopback never leaves its namespace, and another one's may have the very same addresses.
fn is_local(tuple: &Tuple) -> bool {
    tuple.source.ip().is_loopback() || tuple.destination.ip().is_loopback()
}

fn ask(table: &mut dyn Ask, walks: &mut [Walk], indices: impl Iterator<Item = usize>) {
    let (indices, tuples): (Vec<usize>, Vec<Tuple>) =
        indices.filter_map(|index| Some((index, walks[index].tuple?))).unzip();
    for (index, answer) in indices.into_iter().zip(table.ask(&tuples)) {
        walks[index].take(answer);
    }
}

fn conclude(walk: &Walk, question: &Question) -> Found {
    let remote = SocketAddr::new(question.remote.ip().to_canonical(), question.remote.port());
    match walk.tuple {
        Some(tuple) if tuple.destination != remote => Found::Translated(tuple.destination),
        _ => walk.found,
    }
}

#[cfg(test)]
#[path = "chain/tests.rs"]
mod tests;
