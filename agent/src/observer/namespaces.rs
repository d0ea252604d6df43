//! Addresses of network namespaces, to expand listeners on wildcard addresses.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::enrich::netns;
use crate::model::{BootNanos, HostPid, NetnsId};
use crate::node::interfaces;
use crate::state::Listener;

/// How long an answer is believed. Addresses of a namespace rarely change, and reading them costs three files.
const FRESH_NS: u64 = 30_000_000_000;
/// A wildcard of a namespace with more addresses is shown as it is.
const MOST_ADDRESSES: usize = 64;

/// What is known of the namespaces that have listeners.
#[derive(Debug)]
pub struct Namespaces {
    proc_root: PathBuf,
    known: HashMap<NetnsId, (BootNanos, Vec<IpAddr>)>,
}

impl Namespaces {
    /// Nothing known yet.
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        Self { proc_root: proc_root.into(), known: HashMap::new() }
    }

    /// Makes sure that the namespaces of these listeners are known, each by any holder that is alive and in it, and forgets
    /// all others. `breathe` is called before each is read.
    pub fn refresh<'a>(
        &mut self,
        listeners: impl Iterator<Item = &'a Listener>,
        now: BootNanos,
        mut breathe: impl FnMut(),
    ) {
        let mut before = std::mem::take(&mut self.known);
        for listener in listeners.filter(|listener| listener.address.ip().is_unspecified()) {
            // Without its namespace's number, a listener says nothing about another one's addresses.
            let (netns, Some(pid)) = (listener.netns, listener.pid) else { continue };
            if netns == NetnsId(0) || self.known.contains_key(&netns) {
                continue;
            }
            let fresh = before.get(&netns).is_some_and(|(read, _)| now.since(*read) < FRESH_NS);
            let known = if fresh {
                before.remove(&netns)
            } else {
                breathe();
                self.read(netns, pid, now)
            };
            if let Some(known) = known {
                self.known.insert(netns, known);
            }
        }
    }

    fn read(&self, netns: NetnsId, pid: HostPid, now: BootNanos) -> Option<(BootNanos, Vec<IpAddr>)> {
        if !netns::is_in(&self.proc_root, pid, netns) {
            return None;
        }
        let addresses = netns::reachable_addresses(&self.proc_root, pid, interfaces::placed).ok()?;
        Some((now, addresses))
    }

    /// What a listener is shown as: a wildcard stands for every address of its namespace, an IPv6 one for the IPv4 ones
    /// too.
    pub fn expand(&self, listener: &Listener) -> Vec<SocketAddr> {
        let (ip, port) = (listener.address.ip(), listener.address.port());
        let known = self.known.get(&listener.netns).filter(|_| ip.is_unspecified());
        let Some((_, addresses)) = known else { return vec![listener.address] };
        let expanded: Vec<SocketAddr> = addresses
            .iter()
            .filter(|address| ip.is_ipv6() || address.is_ipv4())
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        if expanded.is_empty() || expanded.len() > MOST_ADDRESSES { vec![listener.address] } else { expanded }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// A process with one address; returns the number of its namespace.
    fn process(proc_root: &std::path::Path, pid: u32, address: &str) -> NetnsId {
        let directory = proc_root.join(pid.to_string());
        fs::create_dir_all(directory.join("net")).unwrap();
        fs::create_dir_all(directory.join("ns/net")).unwrap();
        let trie = format!("Local:\n  |-- {address}\n     /32 host LOCAL\n");
        fs::write(directory.join("net/fib_trie"), trie).unwrap();
        NetnsId(fs::metadata(directory.join("ns/net")).unwrap().ino() as u32)
    }

    fn wildcard(netns: NetnsId, pid: u32) -> Listener {
        Listener {
            workload: None,
            pid: Some(HostPid(pid)),
            claim: None,
            netns,
            address: "0.0.0.0:80".parse().unwrap(),
            backlog: None,
            counted_drops: 0,
            seen: BootNanos(0),
            shown: true,
        }
    }

    #[test]
    fn a_holder_elsewhere_does_not_tell_the_addresses_of_a_namespace() {
        let root = tempfile::tempdir().unwrap();
        let pod = process(root.path(), 7, "10.0.0.7");
        process(root.path(), 8, "192.168.0.8");
        let mut namespaces = Namespaces::new(root.path());
        namespaces.refresh([wildcard(pod, 8)].iter(), BootNanos(1), || {});
        assert_eq!(namespaces.expand(&wildcard(pod, 8)), ["0.0.0.0:80".parse().unwrap()]);
        namespaces.refresh([wildcard(pod, 8), wildcard(pod, 7)].iter(), BootNanos(2), || {});
        assert_eq!(namespaces.expand(&wildcard(pod, 8)), ["10.0.0.7:80".parse().unwrap()]);
    }
}
