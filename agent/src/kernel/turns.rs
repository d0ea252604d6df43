//! Sums that the kernel half keeps in two maps by turns.
//!
//! While one of them is written the other one is at rest, and can be taken empty without losing what a program adds at
//! that moment. The mark of the last pass over all tasks, which programs also ask who can be known, says whose turn it is.

use aya::maps::{Array, HashMap, Map, MapData};
use sonde_abi::{
    process::pass,
    record::{Plain, plain},
};

/// The mark of the last pass.
pub struct Mark {
    map: Array<MapData, u64>,
    /// 0 before the first pass: nothing is written.
    mark: u64,
}

impl Mark {
    /// Takes the map of marks.
    pub fn new(map: Map) -> Result<Self, String> {
        let map = Array::try_from(map).map_err(|error| format!("map of marks: {error}"))?;
        Ok(Self { map, mark: 0 })
    }

    /// Gives the kernel half the mark of a pass that begins now, which also turns it to the other maps.
    pub fn begin_pass(&mut self, now_ns: u64) -> Option<u64> {
        let mark = pass::mark(now_ns, !pass::is_second(self.mark));
        self.map.set(0, mark, 0).ok()?;
        self.mark = mark;
        Some(mark)
    }
}

/// Two maps with keys of `K` bytes and values of `V` bytes.
pub struct Sums<const K: usize, const V: usize>([HashMap<MapData, [u8; K], [u8; V]>; 2]);

impl<const K: usize, const V: usize> Sums<K, V> {
    /// Takes the maps.
    pub fn new([first, second]: [Map; 2]) -> Result<Self, String> {
        let sums = |map| HashMap::try_from(map).map_err(|error| format!("maps of sums: {error}"));
        Ok(Self([sums(first)?, sums(second)?]))
    }

    /// Hands over the sums of the map at rest and empties it.
    pub fn take<Key: Plain, Value: Plain>(&mut self, mark: &Mark, mut handle: impl FnMut(&Key, &Value)) {
        let resting = &mut self.0[usize::from(!pass::is_second(mark.mark))];
        // Removing while walking would begin the walk anew.
        let keys: Vec<_> = resting.keys().filter_map(Result::ok).collect();
        for bytes in keys {
            let Ok(sums) = resting.get(&bytes, 0) else { continue };
            // It was there a moment ago, and nobody else removes.
            let _ = resting.remove(&bytes);
            if let (Some(key), Some(sums)) = (plain(&bytes), plain(&sums)) {
                handle(&key, &sums);
            }
        }
    }
}
