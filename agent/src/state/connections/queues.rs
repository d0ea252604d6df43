//! Listening sockets, and what their accept queues dropped.

use super::Connections;
use crate::model::{BootNanos, NetnsId, SocketKind, TcpSocket, WorkloadIx};
use crate::state::backlogs::BacklogKey;
use crate::state::listeners::Listener;
use crate::state::overflows::Question;

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
                let key = self.backlogs.admit(BacklogKey { workload, address: Some(listener.address) });
                self.backlogs.at(key, listener.seen).overflows.get_or_insert(0);
            }
        }
    }

    pub(super) fn listening(&mut self, socket: &TcpSocket, owner: Option<WorkloadIx>) {
        let known = self.listeners.get(socket.id.sock);
        // A socket that was there before it was first seen begins at a baseline.
        let drops = socket.backlog.filter(|_| socket.kind == SocketKind::Listening);
        let counted_drops = known.map_or(drops.map_or(0, |now| now.drops), |known| known.counted_drops);
        if known.is_none() && self.listeners.len() >= self.limits.listeners {
            self.stats.listeners_refused += u64::from(socket.kind == SocketKind::Listen);
            return;
        }
        let listener = Listener {
            workload: owner,
            pid: socket.origin.as_ref().map(|origin| origin.pid),
            netns: socket.netns,
            address: socket.local,
            backlog: socket.backlog,
            counted_drops,
            seen: socket.at,
            shown: socket.kind == SocketKind::Listening || known.is_some_and(|known| known.shown),
        };
        self.listeners.insert(socket.id.sock, listener);
        self.count_drops(socket);
    }

    pub(super) fn unlisten(&mut self, socket: &TcpSocket) {
        self.count_drops(socket);
        self.listeners.remove(socket.id.sock);
    }

    /// Adds what a listener dropped since the last time.
    fn count_drops(&mut self, socket: &TcpSocket) {
        let Some(listener) = self.listeners.get_mut(socket.id.sock) else { return };
        let (Some(now), Some(workload)) = (socket.backlog, listener.workload) else { return };
        let new = now.drops.wrapping_sub(listener.counted_drops);
        // The kernel's counter wraps, but does not go back: then the address belongs to a newer socket.
        let new = if new > i32::MAX as u32 { now.drops } else { new };
        listener.counted_drops = now.drops;
        let (netns, new) = (listener.netns, u64::from(new));
        let key = self.backlogs.admit(BacklogKey { workload, address: Some(listener.address) });
        self.backlogs.at(key, socket.at).all += new;
        self.overflows.dropped(netns, key, new);
    }
}

#[cfg(test)]
mod tests;
