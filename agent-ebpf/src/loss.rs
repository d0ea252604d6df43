//! Counting what had to be dropped.

use sonde_abi::codes::Loss;

use crate::maps::LOSSES;

/// Adds one to a loss counter of this CPU.
#[inline(always)]
pub fn count(loss: Loss) {
    if let Some(slot) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: the slot belongs to this CPU and lives as long as the map; a program that interrupts this one can at
        // worst lose one count of a loss.
        unsafe { *slot += 1 };
    }
}
