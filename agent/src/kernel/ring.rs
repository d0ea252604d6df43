//! A ring of records: drained by a timer, or when the kernel half says that it is half full.

use std::io;
use std::os::fd::OwnedFd;

use aya::maps::{Map, MapData, MapError, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

/// Bytes of a record's header in the ring, `BPF_RINGBUF_HDR_SZ`.
const RECORD_HEADER: usize = 8;

/// The reader's end of the ring.
pub struct Ring {
    ring: RingBuf<MapData>,
    bytes: usize,
    /// Bytes taken since the ring was last found empty.
    run: usize,
    /// Most of those since the last question.
    fill: usize,
}

/// How full a ring was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFill {
    /// Name of its map.
    pub ring: &'static str,
    /// Most bytes that were taken until it was empty.
    pub fill: usize,
    /// Bytes that fit.
    pub capacity: usize,
}

impl Ring {
    /// Maps a ring of so many bytes into memory.
    pub fn new(map: Map, bytes: usize) -> Result<Self, MapError> {
        Ok(Self { ring: RingBuf::try_from(map)?, bytes, run: 0, fill: 0 })
    }

    /// Hands events to `handle` until the ring is empty or the budget used up.
    pub fn drain(&mut self, budget: usize, mut handle: impl FnMut(&[u8])) -> usize {
        let mut events = 0;
        while events < budget {
            let Some(item) = self.ring.next() else { break };
            self.run += RECORD_HEADER + item.len().next_multiple_of(8);
            events += 1;
            handle(&item);
        }
        self.fill = self.fill.max(self.run);
        if events < budget {
            self.run = 0;
        }
        events
    }

    /// How full the ring was since the last call.
    pub fn take_fill(&mut self, ring: &'static str) -> RingFill {
        RingFill { ring, fill: std::mem::take(&mut self.fill), capacity: self.bytes }
    }
}

/// Tells when the kernel half woke its reader because a ring is half full.
pub struct Wakeups {
    events: AsyncFd<OwnedFd>,
    answers: AsyncFd<OwnedFd>,
}

impl Wakeups {
    /// Registers descriptors of both rings with the runtime's reactor. It is edge-triggered, which is what makes a ring
    /// that always holds something wake nobody.
    pub(super) fn new(events: OwnedFd, answers: OwnedFd) -> io::Result<Self> {
        // SAFETY: `OwnedFd` always returns the same descriptor and keeps it open until it is dropped, after the
        // registration.
        let register = |ring| unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self { events: register(events)?, answers: register(answers)? })
    }

    /// Waits for the next wake-up.
    ///
    /// # Errors
    ///
    /// The runtime is shutting down.
    pub async fn half_full(&self) -> io::Result<()> {
        let woken = tokio::select! {
            woken = self.events.readable() => woken,
            woken = self.answers.readable() => woken,
        };
        woken.map(|mut guard| guard.clear_ready())
    }
}

#[cfg(test)]
mod by_hand {
    use std::os::unix::net::UnixDatagram;

    use super::Wakeups;

    /// Stands for the kernel half, so that a test can say when a ring is half full.
    pub struct FakeRing {
        events: UnixDatagram,
        _answers: UnixDatagram,
    }

    impl FakeRing {
        /// Wakes the reader.
        pub fn half_full(&self) {
            self.events.send(b"half").unwrap();
        }
    }

    impl Wakeups {
        /// Wake-ups of a ring that the test fills.
        pub fn by_hand() -> (FakeRing, Self) {
            let (writer, events) = UnixDatagram::pair().unwrap();
            let (silent, answers) = UnixDatagram::pair().unwrap();
            let wakeups = Self::new(events.into(), answers.into()).unwrap();
            (FakeRing { events: writer, _answers: silent }, wakeups)
        }
    }
}
