//! UDP in the totals of the node: taking what the kernel half added up between two addresses.

use super::clock;
use crate::kernel::Kernel;
use crate::networks::NodeTotals;
use crate::probes;

/// Entries in use after which they are taken before anyone asks: a quarter of what fits.
const TAKE_AFTER: u64 = sonde_abi::budget::UDP_PEERS_MAX as u64 / 4;

/// What is remembered between two visits.
#[derive(Debug, Default)]
pub struct Peers {
    /// Entries made until the last turn, as the kernel half counts.
    firsts: u64,
}

impl Peers {
    /// The regular visit: takes what the last one turned away from, and turns again when the map fills.
    pub fn tick(&mut self, kernel: &mut Kernel, totals: &mut NodeTotals) {
        take(kernel, totals);
        if kernel.peers_rest().firsts.saturating_sub(self.firsts) >= TAKE_AFTER {
            self.turn(kernel, totals);
        }
    }

    /// Ends what the next taking is about.
    pub fn turn(&mut self, kernel: &mut Kernel, totals: &mut NodeTotals) {
        let rest = kernel.peers_rest();
        self.firsts = rest.firsts;
        totals.set_datagrams_rest(rest.sent, rest.received);
        kernel.turn_peers();
    }
}

/// Takes everything up to the last turn.
pub fn take(kernel: &mut Kernel, totals: &mut NodeTotals) {
    let now = clock::boot();
    let mut batch = Vec::new();
    kernel.take_peers(|key, bytes| {
        let (local, remote) = probes::udp::ends(key);
        // Everyone's own address first: a sender is as likely to come before who it sends to as after.
        totals.learn(local, now);
        batch.push((remote, bytes.sent, bytes.received));
    });
    for (remote, sent, received) in batch {
        totals.add_datagrams(remote, sent, received);
    }
}
