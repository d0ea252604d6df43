//! When to look for sockets that no file leads to. Most nodes have none, and the look passes by every socket.

use std::time::Duration;

use super::core::before;
use crate::model::BootNanos;

/// Time between two looks while nothing is found.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What the last look found.
#[derive(Debug, Default)]
pub(super) struct Unfiled {
    looked: Option<BootNanos>,
    found: bool,
}

impl Unfiled {
    /// Whether this pass looks: the first does, and every one where there are some.
    pub(super) fn is_due(&self, now: BootNanos) -> bool {
        self.found || self.looked.is_none_or(|looked| looked <= before(now, LOOK_EVERY))
    }

    /// Takes note of a look.
    pub(super) fn looked(&mut self, now: BootNanos, found: bool) {
        *self = Self { looked: Some(now), found };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_none_is_looked_at_once_a_minute() {
        let at = |seconds: u64| BootNanos(seconds * 1_000_000_000);
        let mut unfiled = Unfiled::default();
        assert!(unfiled.is_due(at(100)), "what is older than the agent is a baseline");
        unfiled.looked(at(100), false);
        assert!(!unfiled.is_due(at(115)) && unfiled.is_due(at(160)));
        unfiled.looked(at(160), true);
        assert!(unfiled.is_due(at(161)));
    }
}
