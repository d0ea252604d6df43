//! Names of addresses, as DNS answers told them.
//!
//! An address has one name: the one asked for last. The table is bounded; when it is full, the names that were asked
//! for longest ago and lead nowhere make room, and are counted.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::model::{Answer, BootNanos, NameId};

/// Addresses with a name at once: some hundreds of containers with dozens of destinations each.
pub const ADDRESSES_MAX: usize = 16_384;

/// Texts for every address that fits: those beyond one are of names that flows still have.
const TEXTS_PER_ADDRESS: usize = 2;

/// What happened to the table itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers taken.
    pub answers: u64,
    /// Names that made room for newer ones before their time.
    pub evicted: u64,
    /// Addresses that got no name because everything in the table is in use.
    pub refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Named {
    name: NameId,
    /// It was one of several addresses, all public.
    is_one_of_many: bool,
    /// When it was answered or last a destination.
    used: BootNanos,
    /// It was a destination when last looked at.
    is_destination: bool,
}

#[derive(Clone, Debug)]
struct Text {
    text: Arc<str>,
    /// Addresses that have this name.
    addresses: usize,
    /// Somebody outside may hold its id.
    is_lent: bool,
}

/// All names.
#[derive(Debug)]
pub struct Names {
    by_ip: HashMap<IpAddr, Named>,
    ids: HashMap<Arc<str>, NameId>,
    texts: HashMap<NameId, Text>,
    next: u32,
    max: usize,
    stats: Stats,
}

impl Names {
    /// A table of at most `max` addresses.
    pub fn new(max: usize) -> Self {
        let stats = Stats::default();
        Self { by_ip: HashMap::new(), ids: HashMap::new(), texts: HashMap::new(), next: 0, max, stats }
    }

    /// Takes an answer.
    pub fn answered(&mut self, answer: &Answer, now: BootNanos) {
        self.stats.answers += 1;
        if answer.addresses.is_empty() {
            return;
        }
        let is_one_of_many = answer.addresses.len() > 1 && answer.addresses.iter().all(is_public);
        for ip in &answer.addresses {
            let is_known = self.by_ip.contains_key(ip);
            if self.texts.len() >= TEXTS_PER_ADDRESS * self.max
                || (!is_known && self.by_ip.len() >= self.max && !self.make_room())
            {
                self.stats.refused += 1;
                continue;
            }
            let name = self.take_id(&answer.name);
            let mut named = Named { name, is_one_of_many, used: now, is_destination: false };
            if let Some(old) = self.by_ip.get(ip).copied() {
                named.is_destination = old.is_destination;
                self.give_back(old.name);
            }
            self.by_ip.insert(*ip, named);
        }
    }

    /// The name that stands for a destination in place of its address: of those that are many, all of them public, which
    /// address a client gets says nothing.
    pub fn destination(&mut self, ip: IpAddr) -> Option<NameId> {
        let name = self.by_ip.get(&ip).filter(|named| named.is_one_of_many)?.name;
        if let Some(text) = self.texts.get_mut(&name) {
            text.is_lent = true;
        }
        Some(name)
    }

    /// The name of an address.
    pub fn of(&self, ip: IpAddr) -> Option<&Arc<str>> {
        self.by_ip.get(&ip).and_then(|named| self.text(named.name))
    }

    /// The text of a name.
    pub fn text(&self, name: NameId) -> Option<&Arc<str>> {
        self.texts.get(&name).map(|text| &text.text)
    }

    /// Forgets names that were last answered before `before` and lead to none of the `destinations` of now, and texts
    /// that neither an address nor anybody in `holders` has.
    pub fn forget(
        &mut self,
        destinations: &HashSet<IpAddr>,
        holders: impl Iterator<Item = NameId>,
        (now, before): (BootNanos, BootNanos),
    ) {
        for (ip, named) in &mut self.by_ip {
            named.is_destination = destinations.contains(ip);
            if named.is_destination {
                named.used = now;
            }
        }
        let idle = self.by_ip.iter().filter(|(_, named)| named.used < before);
        let idle: Vec<IpAddr> = idle.map(|(ip, _)| *ip).collect();
        idle.iter().for_each(|ip| self.remove(ip));
        let held: HashSet<NameId> = holders.collect();
        for (name, text) in &mut self.texts {
            text.is_lent = held.contains(name);
        }
        self.texts.retain(|_, text| text.addresses > 0 || text.is_lent);
        self.ids.retain(|_, name| self.texts.contains_key(name));
    }

    /// Addresses with a name.
    pub fn len(&self) -> usize {
        self.by_ip.len()
    }

    /// Whether no address has a name.
    pub fn is_empty(&self) -> bool {
        self.by_ip.is_empty()
    }

    /// Counters about the table.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The id of a name that one more address has.
    fn take_id(&mut self, text: &str) -> NameId {
        let id = self.ids.get(text).copied().unwrap_or_else(|| {
            let (id, text) = (NameId(self.next), Arc::<str>::from(text));
            // After four billion names the first ones are long forgotten.
            self.next = self.next.wrapping_add(1);
            self.ids.insert(text.clone(), id);
            self.texts.insert(id, Text { text, addresses: 0, is_lent: false });
            id
        });
        if let Some(text) = self.texts.get_mut(&id) {
            text.addresses += 1;
        }
        id
    }

    /// An address has its name no more.
    fn give_back(&mut self, name: NameId) {
        let Some(text) = self.texts.get_mut(&name) else { return };
        text.addresses -= 1;
        if text.addresses == 0 && !text.is_lent {
            self.ids.remove(&text.text);
            self.texts.remove(&name);
        }
    }

    fn remove(&mut self, ip: &IpAddr) {
        if let Some(named) = self.by_ip.remove(ip) {
            self.give_back(named.name);
        }
    }

    /// Drops the quarter that was used longest ago of what is no destination, so that the work of finding it is shared
    /// by many answers.
    fn make_room(&mut self) -> bool {
        let idle = self.by_ip.iter().filter(|(_, named)| !named.is_destination);
        let mut idle: Vec<(BootNanos, IpAddr)> = idle.map(|(ip, named)| (named.used, *ip)).collect();
        idle.sort_unstable();
        idle.truncate((self.max / 4).max(1));
        self.stats.evicted += idle.len() as u64;
        idle.iter().for_each(|(_, ip)| self.remove(ip));
        !idle.is_empty()
    }
}

/// Whether an address is one of the internet at large.
pub fn is_public(ip: &IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// RFC 6890: what is reserved is not public; neither is the space that carriers share (RFC 6598).
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_reserved = a == 0 || a >= 240 || (a == 198 && b & 0xfe == 18);
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || is_shared
        || is_reserved)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    !(ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local())
}

#[cfg(test)]
#[path = "names/tests.rs"]
mod tests;
