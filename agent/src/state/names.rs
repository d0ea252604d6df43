//! Names of addresses, as DNS answers told them.
//!
//! An address has one name: the one asked for last. Who asks has a share of the table, and the node has all of it: the
//! names that were asked for longest ago and lead nowhere make room, first within the share, and are counted. Where all
//! of a share leads somewhere, a new address has the name [`OVERFLOW`]. So nobody's asking costs another one a name.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::table::{Caps, Folded};
use crate::model::{Answer, Asker, BootNanos, NameId};

/// Addresses with a name at once: of who asks, several times what a container talks to; of the node, some hundreds of
/// containers with dozens of destinations each.
pub const NAMES_MAX: Caps = Caps { workload: 1024, node: 16_384 };

/// The name of an address whose own one found no room. No host can have it.
const OVERFLOW: &str = "~overflow";

/// Texts for every address that fits: those beyond one are of names that flows still have.
const TEXTS_PER_ADDRESS: usize = 2;

/// What happened to the table itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers taken.
    pub answers: u64,
    /// Addresses whose name made room for newer ones before its time.
    pub evicted: u64,
    /// Addresses whose name found no room, because everything in the share or in the table leads somewhere.
    pub folded: Folded,
}

/// What an address takes room of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Share {
    /// The share of the only one who asked for it.
    Of(Asker),
    /// The node's alone: several asked for it.
    Common,
    /// The node's alone: the share is full, and the name is [`OVERFLOW`].
    Beyond,
}

#[derive(Clone, Copy, Debug)]
struct Named {
    name: NameId,
    /// It was one of several addresses, all public.
    is_one_of_many: bool,
    share: Share,
    /// When it was answered or last a destination.
    used: BootNanos,
    /// It was a destination when last looked at, or is one since.
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
    /// Addresses of each share.
    shares: HashMap<Share, usize>,
    /// Shares, and `None` for the node, in which nothing can make room until names are forgotten.
    stuck: HashSet<Option<Share>>,
    caps: Caps,
    stats: Stats,
}

impl Names {
    /// A table of at most so many addresses.
    pub fn new(caps: Caps) -> Self {
        Self {
            by_ip: HashMap::new(),
            ids: HashMap::new(),
            texts: HashMap::new(),
            next: 0,
            shares: HashMap::new(),
            stuck: HashSet::new(),
            caps,
            stats: Stats::default(),
        }
    }

    /// Takes an answer.
    pub fn answered(&mut self, asker: Asker, answer: &Answer, now: BootNanos) {
        self.stats.answers += 1;
        if answer.addresses.is_empty() {
            return;
        }
        let is_one_of_many = answer.addresses.len() > 1 && answer.addresses.iter().all(is_public);
        for ip in &answer.addresses {
            if self.texts.len() >= TEXTS_PER_ADDRESS * self.caps.node {
                self.stats.folded.node += 1;
                continue;
            }
            let old = self.remove(ip);
            let Some(share) = self.admit(asker, old.map(|old| old.share)) else { continue };
            let is_beyond = share == Share::Beyond;
            self.insert(*ip, if is_beyond { OVERFLOW } else { &answer.name }, |name| Named {
                name,
                is_one_of_many: is_one_of_many && !is_beyond,
                share,
                used: now,
                is_destination: old.is_some_and(|old| old.is_destination),
            });
        }
    }

    /// What an address takes room of that was asked for and is not in the table any more; `None` when the node has no
    /// room. Makes room where it can.
    fn admit(&mut self, asker: Asker, old: Option<Share>) -> Option<Share> {
        let own = Share::Of(asker);
        let mut share = match old {
            Some(Share::Common) => Share::Common,
            Some(Share::Of(other)) if other != asker => Share::Common,
            _ => own,
        };
        let used = self.shares.get(&own).copied().unwrap_or(0);
        if share == own && used >= self.caps.workload && !self.make_room(Some(own), self.caps.workload) {
            self.stats.folded.workload += 1;
            share = Share::Beyond;
        }
        if self.by_ip.len() >= self.caps.node && !self.make_room(None, self.caps.node) {
            self.stats.folded.node += 1;
            return None;
        }
        Some(share)
    }

    /// The name that stands for a destination in place of its address: of those that are many, all of them public, which
    /// address a client gets says nothing.
    pub fn destination(&mut self, ip: IpAddr) -> Option<NameId> {
        let named = self.by_ip.get_mut(&ip)?;
        named.is_destination = true;
        if !named.is_one_of_many {
            return None;
        }
        let name = named.name;
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
        self.stuck.clear();
        for (ip, named) in &mut self.by_ip {
            named.is_destination = destinations.contains(ip);
            if named.is_destination {
                named.used = now;
            }
        }
        let idle = self.by_ip.iter().filter(|(_, named)| named.used < before);
        let idle: Vec<IpAddr> = idle.map(|(ip, _)| *ip).collect();
        for ip in &idle {
            self.remove(ip);
        }
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

    fn insert(&mut self, ip: IpAddr, text: &str, named: impl FnOnce(NameId) -> Named) {
        let named = named(self.take_id(text));
        *self.shares.entry(named.share).or_default() += 1;
        self.by_ip.insert(ip, named);
    }

    fn remove(&mut self, ip: &IpAddr) -> Option<Named> {
        let named = self.by_ip.remove(ip)?;
        self.give_back(named.name);
        if let Some(used) = self.shares.get_mut(&named.share) {
            *used -= 1;
            if *used == 0 {
                self.shares.remove(&named.share);
            }
        }
        Some(named)
    }

    /// Drops up to a quarter of `cap` of what is no destination, of one share or of all, so that the work of finding it is
    /// shared by many answers. What has no name of its own goes first; then who has most gives, of what was used longest
    /// ago. `false` when there is nothing.
    fn make_room(&mut self, of: Option<Share>, cap: usize) -> bool {
        if self.stuck.contains(&of) {
            return false;
        }
        let idle = self.by_ip.iter().filter(|(_, named)| !named.is_destination);
        let idle = idle.filter(|(_, named)| of.is_none_or(|share| share == named.share));
        let mut idle: Vec<_> = idle.map(|(ip, named)| (named.share, Reverse(named.used), *ip)).collect();
        idle.sort_unstable();
        let mut ranked: Vec<(Reverse<usize>, BootNanos, IpAddr)> = Vec::with_capacity(idle.len());
        let mut shares = 0;
        for share in idle.chunk_by(|(one, ..), (other, ..)| one == other) {
            for (newer, (share, Reverse(used), ip)) in share.iter().enumerate() {
                let rank = if *share == Share::Beyond { usize::MAX } else { newer };
                ranked.push((Reverse(rank), *used, *ip));
            }
            shares += 1;
        }
        ranked.sort_unstable();
        // Who has less than three quarters of what all have on average gives only where the rest is too little to be worth
        // the search.
        let fair = if shares > 1 { idle.len() / shares * 3 / 4 } else { 0 };
        let rich = ranked.partition_point(|(Reverse(rank), ..)| *rank >= fair);
        ranked.truncate(rich.clamp((cap / 64).max(1), (cap / 4).max(1)));
        self.stats.evicted += ranked.len() as u64;
        for (.., ip) in &ranked {
            self.remove(ip);
        }
        if ranked.is_empty() {
            self.stuck.insert(of);
        }
        !ranked.is_empty()
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
