//! Listening sockets: what is announced as an address, and what tells the direction of a connection found open.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use foldhash::HashMap;

use super::table::shrink;
use crate::model::{Backlog, BootNanos, Claim, HostPid, NetnsId, WorkloadIx};

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Whose it is; `None` when that could not be told.
    pub workload: Option<WorkloadIx>,
    /// A process of the owner that holds it.
    pub pid: Option<HostPid>,
    /// The best claim to it in the pass under way.
    pub claim: Option<Claim>,
    /// Network namespace.
    pub netns: NetnsId,
    /// Address it listens on, possibly unspecified.
    pub address: SocketAddr,
    /// Its accept queue when it was last seen, where that is measured.
    pub backlog: Option<Backlog>,
    /// What was already counted of its drops, as the kernel numbers them.
    pub counted_drops: u32,
    /// When it was last seen.
    pub seen: BootNanos,
    /// Whether an open file showed it. Else only its event told of it, and only an event can tell that it ended: it may
    /// be a direct descriptor of io_uring, or on its way through a Unix socket.
    pub shown: bool,
}

/// All listening sockets, by the kernel's address of them.
#[derive(Debug, Default)]
pub struct Listeners {
    by_sock: HashMap<u64, Listener>,
    by_port: HashMap<(NetnsId, u16), Vec<u64>>,
}

impl Listeners {
    /// Adds a listener, or refreshes one.
    pub fn insert(&mut self, sock: u64, listener: Listener) {
        let port = (listener.netns, listener.address.port());
        if let Some(old) = self.by_sock.insert(sock, listener)
            && (old.netns, old.address.port()) != port
        {
            self.unlink(sock, (old.netns, old.address.port()));
        }
        let socks = self.by_port.entry(port).or_default();
        if !socks.contains(&sock) {
            socks.push(sock);
        }
    }

    /// Removes a listener.
    pub fn remove(&mut self, sock: u64) {
        if let Some(old) = self.by_sock.remove(&sock) {
            self.unlink(sock, (old.netns, old.address.port()));
        }
    }

    /// Removes what a full pass that began at `pass` no longer saw. What no pass ever saw stays as long as its workload.
    pub fn remove_unseen(&mut self, pass: BootNanos) {
        let is_gone =
            |listener: &Listener| listener.seen < pass && (listener.shown || listener.workload.is_none());
        let gone: Vec<u64> =
            self.by_sock.iter().filter(|(_, listener)| is_gone(listener)).map(|(sock, _)| *sock).collect();
        gone.into_iter().for_each(|sock| self.remove(sock));
    }

    /// The listener that a connection to `local` in a namespace came through: an exact address before a wildcard, and that
    /// of the connection's own family before the other one's.
    pub fn find(&self, netns: NetnsId, local: SocketAddr) -> Option<&Listener> {
        let socks = self.by_port.get(&(netns, local.port()))?;
        if netns == NetnsId(0) && socks.len() > 1 {
            // The plain tracepoint does not tell the namespace: among several, any would be a guess.
            return None;
        }
        let listeners = || socks.iter().filter_map(|sock| self.by_sock.get(sock));
        let exact = listeners().find(|listener| listener.address.ip() == local.ip());
        let is_own = |listener: &&Listener| listener.address.is_ipv4() == local.is_ipv4();
        let wildcards = || listeners().filter(|listener| serves(listener.address.ip(), local.ip()));
        exact.or_else(|| wildcards().find(is_own)).or_else(|| wildcards().next())
    }

    /// A listener.
    pub fn get(&self, sock: u64) -> Option<&Listener> {
        self.by_sock.get(&sock)
    }

    /// A listener, whose address stays as it is.
    pub(super) fn get_mut(&mut self, sock: u64) -> Option<&mut Listener> {
        self.by_sock.get_mut(&sock)
    }

    /// Forgets the claims of a pass that came to no end.
    pub(super) fn forget_claims(&mut self) {
        self.by_sock.values_mut().for_each(|listener| listener.claim = None);
    }

    /// Gives each listener that a pass has seen to the best claim; returns those sockets.
    pub(super) fn settle_claims(&mut self) -> Vec<u64> {
        let mut seen = Vec::new();
        for (sock, listener) in &mut self.by_sock {
            if let Some(claim) = listener.claim.take() {
                listener.workload = claim.workload.or(listener.workload);
                listener.pid = Some(claim.pid);
                seen.push(*sock);
            }
        }
        seen
    }

    /// Entries that memory is held for.
    pub fn capacity(&self) -> usize {
        self.by_sock.capacity() + self.by_port.capacity()
    }

    /// Gives memory back that is no longer needed.
    pub fn shrink(&mut self) {
        shrink(&mut self.by_sock);
        shrink(&mut self.by_port);
    }

    /// Gives the listeners of a workload to another one.
    pub fn merge_workload(&mut self, from: WorkloadIx, into: WorkloadIx) {
        for listener in self.by_sock.values_mut().filter(|listener| listener.workload == Some(from)) {
            listener.workload = Some(into);
        }
    }

    /// Takes the listeners of workloads that are gone from them: nobody would forget rows made for these later.
    pub fn disown(&mut self, gone: &HashSet<WorkloadIx>) {
        for listener in self.by_sock.values_mut() {
            listener.workload = listener.workload.filter(|workload| !gone.contains(workload));
        }
    }

    /// All listeners.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.by_sock.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_sock.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_sock.is_empty()
    }

    fn unlink(&mut self, sock: u64, port: (NetnsId, u16)) {
        if let Some(socks) = self.by_port.get_mut(&port) {
            socks.retain(|other| *other != sock);
            if socks.is_empty() {
                self.by_port.remove(&port);
            }
        }
    }
}

/// An IPv6 wildcard usually takes IPv4 connections too; `IPV6_V6ONLY` sockets have an IPv4 sibling for those.
fn serves(listens: IpAddr, asked: IpAddr) -> bool {
    listens.is_unspecified() && (listens.is_ipv6() || asked.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, seen: u64) -> Listener {
        let address = address.parse().unwrap();
        Listener {
            workload: None,
            pid: None,
            claim: None,
            netns: NetnsId(1),
            address,
            backlog: None,
            counted_drops: 0,
            seen: BootNanos(seen),
            shown: true,
        }
    }

    #[test]
    fn an_exact_address_wins_over_a_wildcard() {
        let mut listeners = Listeners::default();
        listeners.insert(1, listener("0.0.0.0:80", 0));
        listeners.insert(2, listener("10.0.0.1:80", 0));
        let found = |listeners: &Listeners, netns, local: &str| {
            listeners
                .find(NetnsId(netns), local.parse().unwrap())
                .map(|listener| listener.address.to_string())
        };
        assert_eq!(found(&listeners, 1, "10.0.0.1:80").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(found(&listeners, 1, "10.0.0.2:80").as_deref(), Some("0.0.0.0:80"));
        assert_eq!(found(&listeners, 2, "10.0.0.1:80"), None, "another namespace");
        assert_eq!(found(&listeners, 1, "[::1]:80"), None, "an IPv4 wildcard does not take IPv6");
        listeners.insert(3, listener("[::]:81", 0));
        assert_eq!(found(&listeners, 1, "10.0.0.1:81").as_deref(), Some("[::]:81"));
    }

    #[test]
    fn a_wildcard_of_the_same_family_wins_whichever_was_first() {
        for order in [["[::]:80", "0.0.0.0:80"], ["0.0.0.0:80", "[::]:80"]] {
            let mut listeners = Listeners::default();
            (1..).zip(order).for_each(|(sock, address)| listeners.insert(sock, listener(address, 0)));
            for (local, expected) in [("10.0.0.1:80", "0.0.0.0:80"), ("[fd00::1]:80", "[::]:80")] {
                let found = listeners.find(NetnsId(1), local.parse().unwrap()).unwrap();
                assert_eq!(found.address.to_string(), expected, "{local} of {order:?}");
            }
        }
    }

    #[test]
    fn without_namespaces_only_a_port_with_one_listener_tells_anything() {
        let mut listeners = Listeners::default();
        let nowhere = |address: &str| Listener { netns: NetnsId(0), ..listener(address, 0) };
        listeners.insert(1, nowhere("0.0.0.0:80"));
        assert!(listeners.find(NetnsId(0), "10.0.0.1:80".parse().unwrap()).is_some());
        listeners.insert(2, nowhere("0.0.0.0:80"));
        assert_eq!(listeners.find(NetnsId(0), "10.0.0.1:80".parse().unwrap()), None);
    }

    #[test]
    fn what_a_pass_does_not_see_is_gone() {
        let mut listeners = Listeners::default();
        listeners.insert(1, listener("0.0.0.0:80", 5));
        listeners.insert(2, listener("0.0.0.0:80", 10));
        listeners.remove_unseen(BootNanos(10));
        assert_eq!(listeners.len(), 1);
        listeners.remove(2);
        assert!(listeners.is_empty() && listeners.by_port.is_empty());
    }

    #[test]
    fn what_no_pass_ever_saw_stays_until_its_workload_is_gone() {
        let mut listeners = Listeners::default();
        let hidden = |workload| Listener {
            workload: Some(WorkloadIx(workload)),
            shown: false,
            ..listener("0.0.0.0:80", 5)
        };
        listeners.insert(1, hidden(1));
        listeners.insert(2, hidden(2));
        listeners.insert(3, Listener { shown: false, ..listener("0.0.0.0:80", 5) });
        listeners.insert(4, Listener { shown: true, ..hidden(1) });
        listeners.remove_unseen(BootNanos(10));
        let left = |listeners: &Listeners| [1, 2, 3, 4].map(|sock| listeners.get(sock).is_some());
        assert_eq!(left(&listeners), [true, true, false, false], "nobody's and seen before");
        listeners.disown(&HashSet::from([WorkloadIx(1)]));
        listeners.remove_unseen(BootNanos(20));
        assert_eq!(left(&listeners), [false, true, false, false]);
    }
}
