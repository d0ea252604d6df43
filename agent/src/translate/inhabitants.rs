//! A process of each network namespace, as a way in. Bounded.

use std::collections::HashMap;

use crate::model::{HostPid, NetnsId};

/// Namespaces of which a process is remembered.
const MAX: usize = 4096;

/// The process that was last seen with a socket that stays.
#[derive(Debug, Default)]
pub struct Inhabitants {
    by_netns: HashMap<NetnsId, HostPid>,
}

impl Inhabitants {
    /// A process has a socket that listens, or that was open when all sockets were looked at.
    pub fn notice(&mut self, netns: NetnsId, pid: HostPid) {
        if netns == NetnsId(0) || pid == HostPid(0) {
            return;
        }
        if self.by_netns.len() >= MAX && !self.by_netns.contains_key(&netns) {
            // Those that matter are seen again with the next look at all sockets.
            self.by_netns.clear();
        }
        self.by_netns.insert(netns, pid);
    }

    /// A process of the namespace; it may be gone.
    pub fn of(&self, netns: NetnsId) -> Option<HostPid> {
        self.by_netns.get(&netns).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_known_and_the_table_stays_small() {
        let mut inhabitants = Inhabitants::default();
        for (netns, pid) in [(1, 10), (1, 11), (0, 12), (1, 0)] {
            inhabitants.notice(NetnsId(netns), HostPid(pid));
        }
        assert_eq!((inhabitants.of(NetnsId(1)), inhabitants.of(NetnsId(0))), (Some(HostPid(11)), None));
        for netns in 2..=2 * u32::try_from(MAX).unwrap() {
            inhabitants.notice(NetnsId(netns), HostPid(1));
            assert!(inhabitants.by_netns.len() <= MAX);
            assert_eq!(inhabitants.of(NetnsId(netns)), Some(HostPid(1)));
        }
    }
}
