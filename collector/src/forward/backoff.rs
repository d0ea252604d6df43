//! Growing pauses between attempts, with jitter so that many senders do not come back at the same moment.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// Longest `Retry-After` that is believed.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The pauses of one target.
#[derive(Debug)]
pub(super) struct Backoff {
    attempts: u32,
    longest: Duration,
    random: u64,
}

impl Backoff {
    /// `seed` only needs to differ between senders.
    pub fn new(seed: u64) -> Self {
        Self { attempts: 0, longest: LONGEST, random: seed }
    }

    /// One that hardly pauses.
    #[cfg(test)]
    pub fn impatient() -> Self {
        Self { longest: Duration::from_micros(100), ..Self::new(1) }
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next pause: what the target asked for if it did, else between half and all of a time that doubles.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempts.min(16)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        let half = full / 2;
        let jittered = half + half.mul_f64(self.fraction());
        asked.map_or(jittered, |asked| asked.min(LONGEST_ASKED).max(FIRST))
    }

    /// A number in 0..1 (xorshift).
    fn fraction(&mut self) -> f64 {
        let mut x = self.random | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        (x >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new(42);
        for attempt in 0..40u32 {
            let full = (FIRST * (1 << attempt.min(10))).min(LONGEST);
            let pause = backoff.next(None);
            assert!(pause >= full / 2 && pause <= full, "attempt {attempt}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }

    #[test]
    fn what_the_target_asks_for_is_honoured_within_reason() {
        let mut backoff = Backoff::new(1);
        assert_eq!(backoff.next(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.next(Some(Duration::from_secs(86_400))), LONGEST_ASKED);
        assert_eq!(backoff.next(Some(Duration::ZERO)), FIRST);
    }
}
