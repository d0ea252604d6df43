//! What is done now and then: the next time counts from the last one, however late that was.

use std::time::{Duration, Instant};

/// Visits of one kind; the first is due at once.
pub(super) struct Visits {
    every: Duration,
    next: Instant,
}

impl Visits {
    pub(super) fn every(every: Duration) -> Self {
        Self { every, next: Instant::now() }
    }

    /// Whether a visit is due; if so, it is made now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + self.every;
        }
        is_due
    }

    /// Time until the next visit.
    pub(super) fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_visit_puts_off_the_next_one() {
        let mut visits = Visits::every(Duration::from_secs(10));
        let start = visits.next;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(visits.is_due(start) && !visits.is_due(after(9)));
        assert!(visits.is_due(after(17)) && !visits.is_due(after(26)), "as long as ever after a late one");
        assert!(visits.is_due(after(27)));
        assert!(visits.wait() > Duration::from_secs(10), "the next is due at 37 s");
    }
}
