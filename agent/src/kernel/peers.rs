//! Datagrams of the whole node by the addresses at both ends, in two maps by turns.
//!
//! Turning and taking are two steps with some time in between, for a program may have read the mark just before.

use aya::maps::{Map, MapData, PerCpuArray};
use sonde_abi::udp::{PeerBytes, PeerKey};

use super::turns::{Mark, Sums};

/// A value of `UDP_PEERS_REST`: the three numbers of [`PeerBytes`].
type Rest = [u64; size_of::<PeerBytes>() / size_of::<u64>()];

/// The maps.
pub struct Peers {
    mark: Mark,
    sums: Sums<{ size_of::<PeerKey>() }, { size_of::<PeerBytes>() }>,
    rest: PerCpuArray<MapData, Rest>,
    /// The map at rest is not taken yet.
    is_turned: bool,
}

impl Peers {
    /// Takes the maps: the two of sums, that of what they have no room for, that of the mark.
    pub fn new([first, second, rest, turn]: [Map; 4]) -> Result<Self, String> {
        let rest = PerCpuArray::try_from(rest).map_err(|error| format!("map `UDP_PEERS_REST`: {error}"))?;
        Ok(Self { mark: Mark::new(turn)?, sums: Sums::new([first, second])?, rest, is_turned: false })
    }

    /// Turns the programs to the other map, unless what rests there is not taken yet.
    pub fn turn(&mut self) {
        if !self.is_turned {
            self.is_turned = self.mark.begin_pass(0).is_some();
        }
    }

    /// Hands over what was counted up to the turn, and empties the map.
    pub fn take(&mut self, handle: impl FnMut(&PeerKey, &PeerBytes)) {
        if std::mem::take(&mut self.is_turned) {
            self.sums.take(&self.mark, handle);
        }
    }

    /// What found no room since the programs were loaded, and how often a packet found nothing counted between its ends.
    pub fn rest(&self) -> PeerBytes {
        let mut sum = PeerBytes::default();
        // The map has one entry on every CPU, and nothing else can go wrong.
        let per_cpu = self.rest.get(&0, 0);
        for [sent, received, firsts] in per_cpu.iter().flat_map(|values| values.iter()) {
            sum.sent += sent;
            sum.received += received;
            sum.firsts += firsts;
        }
        sum
    }
}
