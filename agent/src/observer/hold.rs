//! Holding back the first snapshots while the cloud has yet to tell region and zone. They are labels: told a moment later,
//! every series of the start would end and begin again under another name.

use std::time::{Duration, Instant};

/// The longest time that anybody waits: what a metadata service gets for one answer, and less than a scrape waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether snapshots may be asked for. Once they may, they always may.
#[derive(Debug)]
pub struct Hold {
    /// `None` when over.
    until: Option<Instant>,
}

impl Hold {
    /// Begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self { until: Some(now + PATIENCE) }
    }

    /// Ends the hold when everything is known that was to be known first, or the time is over; tells when it ends just now.
    pub fn ends(&mut self, is_known: bool, now: Instant) -> bool {
        let ends = self.until.is_some_and(|until| is_known || now >= until);
        self.until = self.until.filter(|_| !ends);
        ends
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_ends_once_with_the_answer_or_with_patience() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut answered = Hold::new(start);
        assert!(!answered.ends(false, after(0)) && !answered.is_over());
        assert!(answered.ends(true, after(100)) && answered.is_over());
        assert!(!answered.ends(true, after(200)), "it has ended before");
        let mut silent = Hold::new(start);
        assert!(!silent.ends(false, after(4_999)));
        assert!(silent.ends(false, after(5_000)) && silent.is_over());
        assert!(Hold::new(start).ends(true, start), "nothing is held without a question");
    }
}
