//! The counters, by where the other end is.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::classes::Class;
use super::local::LocalAddresses;
use super::rules::Networks;
use crate::model::BootNanos;
use crate::state::{Direction, Totals};

/// Where the other end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The configured network; `None` without one, and for this node's own addresses.
    pub(super) network: Option<usize>,
    /// The address' own class.
    pub(super) class: Class,
}

/// What went there and came from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Connections opened from here.
    pub(super) outbound: u64,
    /// Connections accepted here.
    pub(super) inbound: u64,
}

/// Counters of the whole node.
#[derive(Debug, Default)]
pub struct NodeTotals {
    pub(super) networks: Networks,
    /// The node's own zone, as configuration says.
    configured_zone: Option<Arc<str>>,
    /// The node's own zone, as the cloud says.
    cloud_zone: Option<Arc<str>>,
    /// Addresses of the host itself.
    host: HashSet<IpAddr>,
    local: LocalAddresses,
    pub(super) tcp: BTreeMap<Place, Traffic>,
    pub(super) udp: BTreeMap<Place, Traffic>,
    /// UDP whose other end is not known, because there were too many at once.
    pub(super) udp_rest: Traffic,
}

impl NodeTotals {
    /// Nothing counted yet; `zone` is the node's own one, where configuration says so.
    pub fn new(networks: Networks, zone: Option<Arc<str>>) -> Self {
        Self { networks, configured_zone: zone, ..Self::default() }
    }

    /// Adds datagrams between an address of this node and others. To be told in batches, after [`Self::learn`] heard of
    /// all addresses of this node in them.
    pub fn add_datagrams(&mut self, peer: IpAddr, sent: u64, received: u64) {
        let place = self.place(peer);
        let traffic = self.udp.entry(place).or_default();
        traffic.sent += sent;
        traffic.received += received;
    }

    /// Takes the bytes of all datagrams so far whose other end is not known.
    pub fn set_datagrams_rest(&mut self, sent: u64, received: u64) {
        self.udp_rest = Traffic { sent, received, ..Traffic::default() };
    }

    /// A socket of this node has the address. To be told before what a batch of events counts: who connects is heard
    /// of before who accepts.
    pub fn learn(&mut self, address: IpAddr, now: BootNanos) {
        self.local.learn(address, now);
    }

    /// The addresses of the host itself, as far as they could be read.
    pub fn set_host_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.host = addresses.into_iter().collect();
    }

    /// The zone that the cloud says this node is in. One that configuration gives wins.
    pub fn set_cloud_zone(&mut self, zone: &str) {
        self.cloud_zone = (!zone.is_empty()).then(|| zone.into());
    }

    /// Forgets addresses that are gone.
    pub fn expire(&mut self, now: BootNanos) {
        self.local.expire(now);
    }

    /// The node's own zone: as configured, else as the cloud says, else that of the networks which hold the host's own
    /// addresses, if they agree.
    pub fn own_zone(&self) -> Option<&str> {
        let known = self.configured_zone.as_deref().or(self.cloud_zone.as_deref());
        known.or_else(|| {
            let network = |address: &IpAddr| Some(self.networks.get(self.networks.find(*address)?));
            let mut zones = self.host.iter().filter_map(|address| network(address)?.zone.as_deref());
            let first = zones.next()?;
            zones.all(|zone| zone == first).then_some(first)
        })
    }

    fn place(&self, peer: IpAddr) -> Place {
        let peer = peer.to_canonical();
        let class = match Class::of(peer) {
            Class::Loopback => Class::Loopback,
            _ if self.local.contains(peer) || self.host.contains(&peer) => Class::Local,
            class => class,
        };
        let own = matches!(class, Class::Loopback | Class::Local);
        Place { network: if own { None } else { self.networks.find(peer) }, class }
    }
}

/// TCP. To be told after [`NodeTotals::learn`] heard of the address at this end.
impl Totals for NodeTotals {
    fn add(&mut self, peer: IpAddr, sent: u64, received: u64) {
        let place = self.place(peer);
        let traffic = self.tcp.entry(place).or_default();
        traffic.sent += sent;
        traffic.received += received;
    }

    fn add_connection(&mut self, peer: IpAddr, direction: Direction) {
        let place = self.place(peer);
        let traffic = self.tcp.entry(place).or_default();
        match direction {
            Direction::Outbound => traffic.outbound += 1,
            Direction::Inbound => traffic.inbound += 1,
        }
    }
}

#[cfg(test)]
#[path = "totals/tests.rs"]
mod tests;
