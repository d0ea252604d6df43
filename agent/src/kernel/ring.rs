//! The event ring: drained by a timer, or when the kernel half says that it is half full.

use std::os::fd::{AsRawFd, RawFd};

use aya::maps::{Map, MapData, MapError, RingBuf};
use sonde_abi::budget::EVENTS_BYTES;

/// Bytes of a record's header in the ring, `BPF_RINGBUF_HDR_SZ`.
const RECORD_HEADER: usize = 8;

/// The reader's end of the ring.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// Most bytes taken in one drain since the last question.
    fill: usize,
}

impl Ring {
    /// Maps the ring into memory.
    pub fn new(map: Map) -> Result<Self, MapError> {
        Ok(Self { ring: RingBuf::try_from(map)?, fill: 0 })
    }

    /// Hands events to `handle` until the ring is empty or the budget used up.
    pub fn drain(&mut self, budget: usize, mut handle: impl FnMut(&[u8])) -> usize {
        let (mut events, mut bytes) = (0, 0);
        while events < budget {
            let Some(item) = self.ring.next() else { break };
            bytes += RECORD_HEADER + item.len().next_multiple_of(8);
            events += 1;
            handle(&item);
        }
        self.fill = self.fill.max(bytes);
        events
    }

    /// Most bytes taken in one drain since the last call, and the ring's size.
    pub fn take_fill(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.fill), EVENTS_BYTES)
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
