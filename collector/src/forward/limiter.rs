//! Few lines about many losses.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two lines about the same kind of loss of a target.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Says when to report a loss, and how much was lost since the last report.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    reported: Option<Instant>,
    unreported: u64,
}

impl Limiter {
    /// Adds samples that were lost; their number together with those before, if it is time to report it.
    pub fn add(&mut self, samples: u64, now: Instant) -> Option<u64> {
        self.unreported += samples;
        if self.reported.is_some_and(|last| now.duration_since(last) < REPORT_EVERY) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_back_is_part_of_the_next_report() {
        let begin = Instant::now();
        let mut limiter = Limiter::default();
        let mut after = |seconds, samples| limiter.add(samples, begin + Duration::from_secs(seconds));
        assert_eq!([after(0, 1), after(1, 2), after(9, 3), after(10, 4)], [Some(1), None, None, Some(9)]);
        assert_eq!([after(11, 5), after(60, 6)], [None, Some(11)]);
    }
}
