//! Histograms that the kernel half keeps, one per key and CPU.

use aya::maps::{Map, MapData, PerCpuHashMap};
use sonde_abi::{
    latency::Latency,
    record::{Plain, plain},
};

/// A map of histograms with keys of `K` bytes.
pub struct Latencies<const K: usize>(PerCpuHashMap<MapData, [u8; K], [u8; size_of::<Latency>()]>);

impl<const K: usize> Latencies<K> {
    /// Takes the map.
    pub fn new(map: Map) -> Result<Self, String> {
        PerCpuHashMap::try_from(map).map(Self).map_err(|error| format!("a map of histograms: {error}"))
    }

    /// Hands over every key with its histogram of all CPUs since its first time, and forgets those for which `handle` says
    /// so.
    pub fn visit<Key: Plain>(&mut self, mut handle: impl FnMut(&Key, &Latency) -> Keep) {
        let mut gone = Vec::new();
        for (bytes, values) in self.0.iter().filter_map(Result::ok) {
            let mut sum = Latency::default();
            for latency in values.iter().filter_map(|value| plain::<Latency>(value)) {
                sum.counts.iter_mut().zip(latency.counts).for_each(|(sum, count)| *sum += count);
                sum.sum_ns += latency.sum_ns;
            }
            if let Some(key) = plain(&bytes)
                && handle(&key, &sum) == Keep::No
            {
                gone.push(bytes);
            }
        }
        // Absent is what is wanted.
        gone.iter().for_each(|bytes| drop(self.0.remove(bytes)));
    }
}

/// Whether a histogram is still of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is.
    Yes,
    /// It is not: nothing has come for long.
    No,
}
