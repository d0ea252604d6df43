//! Listening sockets, and what their accept queues dropped.

use super::Connections;
use crate::model::{Backlog, BootNanos, Claim, NetnsId, SocketKind, TcpSocket};
use crate::state::backlogs::BacklogKey;
use crate::state::listeners::Listener;
use crate::state::overflows::Question;
use crate::state::table::Key as _;

impl Connections {
    /// After a pass: the network namespaces whose number of overflows is to be asked.
    pub fn overflow_questions(&mut self) -> Vec<Question> {
        self.overflows.questions(&self.listeners)
    }

    /// Takes what they answered, `None` where nobody could.
    pub fn answer_overflows(&mut self, answers: Vec<(NetnsId, Option<u64>)>, now: BootNanos) {
        for (netns, total) in answers {
            for (key, count) in self.overflows.answer(netns, total) {
                *self.backlogs.at(key, now).overflows.get_or_insert(0) += count;
            }
        }
        // Where they are known, none is zero.
        for listener in self.listeners.iter() {
            let (Some(workload), Some(_)) = (listener.workload, listener.backlog) else { continue };
            if self.overflows.measures(listener.netns) {
                let own = BacklogKey { workload, address: Some(listener.address) };
                // What it dropped has its place by now.
                let key = if self.backlogs.contains(&own) { own } else { own.overflow() };
                self.backlogs.at(key, listener.seen).overflows.get_or_insert(0);
            }
        }
    }

    /// A listener's start, or a row of a pass: one for each process that holds it. What it dropped is counted when the
    /// pass has met all of them.
    pub(super) fn listening(&mut self, socket: &TcpSocket, claim: Claim) {
        let known = self.listeners.get(socket.id.sock);
        // A socket that was there before it was first seen begins at a baseline.
        let drops = socket.backlog.filter(|_| socket.kind == SocketKind::Listening);
        let counted_drops = known.map_or(drops.map_or(0, |now| now.drops), |known| known.counted_drops);
        if known.is_none() && self.listeners.len() >= self.limits.listeners {
            self.stats.listeners_refused += u64::from(socket.kind == SocketKind::Listen);
            return;
        }
        let is_row = socket.kind == SocketKind::Listening;
        let pid = socket.origin.as_ref().map(|origin| origin.pid);
        let claim = Claim { pid: pid.unwrap_or_default(), ..claim };
        // An event that comes after the row of a pass knows less than that.
        let shown = known.filter(|known| known.shown);
        let before = known.filter(|known| (is_row || known.shown) && known.workload.is_some());
        let best = known.and_then(|known| known.claim).map_or(claim, |best| best.or_better(claim));
        let listener = Listener {
            workload: before.map_or(claim.workload, |known| known.workload),
            pid: before.map_or(pid, |known| known.pid),
            claim: if is_row { Some(best) } else { shown.and_then(|known| known.claim) },
            netns: socket.netns,
            address: socket.local,
            backlog: socket.backlog.or_else(|| shown?.backlog),
            counted_drops,
            seen: shown.map_or(socket.at, |known| known.seen.max(socket.at)),
            shown: is_row || shown.is_some(),
        };
        self.listeners.insert(socket.id.sock, listener);
        if !is_row {
            self.count_drops(socket.id.sock, socket.backlog, socket.at);
        }
    }

    /// A pass has met everyone who holds a listener.
    pub(super) fn settle_listeners(&mut self) {
        for sock in self.listeners.settle_claims() {
            let Some(listener) = self.listeners.get(sock) else { continue };
            self.count_drops(sock, listener.backlog, listener.seen);
        }
    }

    pub(super) fn unlisten(&mut self, socket: &TcpSocket) {
        self.count_drops(socket.id.sock, socket.backlog, socket.at);
        self.listeners.remove(socket.id.sock);
    }

    /// Adds what a listener dropped since the last time.
    fn count_drops(&mut self, sock: u64, backlog: Option<Backlog>, at: BootNanos) {
        let Some(listener) = self.listeners.get_mut(sock) else { return };
        let (Some(now), Some(workload)) = (backlog, listener.workload) else { return };
        let new = now.drops.wrapping_sub(listener.counted_drops);
        // The kernel's counter wraps, but does not go back: then the address belongs to a newer socket.
        let new = if new > i32::MAX as u32 { now.drops } else { new };
        listener.counted_drops = now.drops;
        let (netns, new) = (listener.netns, u64::from(new));
        let key = self.backlogs.admit(BacklogKey { workload, address: Some(listener.address) });
        self.backlogs.at(key, at).all += new;
        self.overflows.dropped(netns, key, new);
    }
}

#[cfg(test)]
mod tests;
