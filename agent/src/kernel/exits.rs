//! Threads that ended, as the kernel half has added them up in two maps by turns.
//!
//! While one of them is written the other one is at rest, and can be taken empty without losing what a program adds at
//! that moment.

use aya::maps::{Array, HashMap, Map, MapData};
use sonde_abi::{
    process::{Exited, ExitedKey, pass},
    record::plain,
};

type Sums = HashMap<MapData, [u8; size_of::<ExitedKey>()], [u8; size_of::<Exited>()]>;

/// Both maps and the mark that says which one is written.
pub struct Exits {
    maps: [Sums; 2],
    pass: Array<MapData, u64>,
    /// 0 before the first pass: nothing is written.
    mark: u64,
}

impl Exits {
    /// Takes the maps.
    pub fn new([first, second]: [Map; 2], pass: Map) -> Result<Self, String> {
        let sums = |map| Sums::try_from(map).map_err(|error| format!("maps `EXITED_A`, `EXITED_B`: {error}"));
        let pass = Array::try_from(pass).map_err(|error| format!("map `PASS`: {error}"))?;
        Ok(Self { maps: [sums(first)?, sums(second)?], pass, mark: 0 })
    }

    /// Gives the kernel half the mark of a pass that begins now, which also turns it to the other map; returns the mark.
    pub fn begin_pass(&mut self, now_ns: u64) -> Option<u64> {
        let mark = pass::mark(now_ns, !pass::is_second(self.mark));
        self.pass.set(0, mark, 0).ok()?;
        self.mark = mark;
        Some(mark)
    }

    /// Hands over the sums of the map at rest and empties it.
    pub fn take(&mut self, mut handle: impl FnMut(&ExitedKey, &Exited)) {
        let resting = &mut self.maps[usize::from(!pass::is_second(self.mark))];
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
