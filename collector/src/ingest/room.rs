//! The share of memory that one request holds of what all requests under way may take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Reason;
use super::body::Refused;

/// Unit in which bytes are counted, so that they fit a semaphore.
const PERMIT_BYTES: u64 = 1024;
/// Seconds after which a request may come again when too much is under way.
const RETRY_AFTER_S: u32 = 5;

/// Memory for all requests.
#[derive(Clone, Debug)]
pub(super) struct Rooms(Arc<Semaphore>);

/// Memory of one request, given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    rooms: Rooms,
    held: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    /// Room for this many bytes together.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(PERMIT_BYTES) as usize)))
    }

    /// Room of a request, nothing yet.
    pub fn enter(&self) -> Room {
        Room { rooms: self.clone(), held: None }
    }
}

impl Room {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.num_permits() as u64 * PERMIT_BYTES)
    }

    /// Takes `bytes` more, or refuses the request.
    pub fn take(&mut self, bytes: u64) -> Result<(), Refused> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let more = self.rooms.0.clone().try_acquire_many_owned(permits).map_err(|_| {
            Refused::later(
                Reason::Overloaded,
                "too many requests are under way, try again later",
                RETRY_AFTER_S,
            )
        })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_holds_another_cannot_take_until_it_is_given_back() {
        let rooms = Rooms::new(10 << 10);
        let (mut one, mut other) = (rooms.enter(), rooms.enter());
        one.take(1).unwrap();
        one.take(6 << 10).unwrap();
        assert_eq!(one.bytes(), 7 << 10);
        assert_eq!(other.take(4 << 10).unwrap_err().reason, Reason::Overloaded);
        drop(one);
        other.take(10 << 10).unwrap();
    }
}
