//! Addresses of this node and of its containers, learned from the sockets that have them.

use std::net::IpAddr;

use foldhash::HashMap;

use crate::model::BootNanos;

/// An address that no socket had for so long may belong to another node by now.
const KEEP_NS: u64 = 600_000_000_000;
/// Addresses kept. A node has a few hundred; beyond the cap a new one is not learned, which makes its traffic count by
/// its network.
const MAX: usize = 65_536;

/// The addresses, with the time when each was last seen.
#[derive(Debug, Default)]
pub struct LocalAddresses {
    seen: HashMap<IpAddr, BootNanos>,
}

impl LocalAddresses {
    /// A socket of this node has the address. Loopback needs no learning, and a wildcard is none.
    pub fn learn(&mut self, address: IpAddr, now: BootNanos) {
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return;
        }
        if let Some(seen) = self.seen.get_mut(&address) {
            *seen = now.max(*seen);
        } else if self.seen.len() < MAX {
            self.seen.insert(address, now);
        }
    }

    /// Whether it is one of this node's.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.seen.contains_key(&address)
    }

    /// Forgets what was not seen for long.
    pub fn expire(&mut self, now: BootNanos) {
        self.seen.retain(|_, seen| now.since(*seen) < KEEP_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_learned_kept_and_forgotten() {
        let mut local = LocalAddresses::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for text in ["10.0.0.1", "10.0.0.2", "0.0.0.0", "127.0.0.1", "::1", "::"] {
            local.learn(address(text), BootNanos(1));
        }
        assert_eq!(local.seen.len(), 2);
        local.learn(address("10.0.0.2"), BootNanos(500));
        local.expire(BootNanos(1 + KEEP_NS));
        assert!(!local.contains(address("10.0.0.1")) && local.contains(address("10.0.0.2")));
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut local = LocalAddresses::default();
        let address = |n: usize| IpAddr::from(u32::try_from(0x0a00_0000 + n).unwrap().to_be_bytes());
        (0..=MAX).for_each(|n| local.learn(address(n), BootNanos(1)));
        assert_eq!(local.seen.len(), MAX);
        local.learn(address(0), BootNanos(2));
        assert!(local.contains(address(0)) && !local.contains(address(MAX)));
    }
}
