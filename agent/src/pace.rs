//! Pauses in long work, so that it does not keep others from a CPU for long.
//!
//! A thread that wants the CPU may get it only when the running one has used up its slice and the scheduler's clock ticks:
//! after some milliseconds, in which a busy connection fills its socket's buffer and stops. A sleep in between lets it go
//! on, whatever the cgroups of the two and their weights, at the price of a wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Work between two pauses: a part of a tick (1 to 10 ms), and long beside the pause itself.
const STRETCH: Duration = Duration::from_micros(500);
/// Any sleep gives up the CPU; with the usual timer slack of 50 µs (prctl(2)) this one takes up to 70.
const PAUSE: Duration = Duration::from_micros(20);
/// After so much time in pauses there are no more of them: where many want the CPU each one is long, and a busy node must
/// be seen as well.
const PATIENCE: Duration = Duration::from_millis(100);
/// Small steps between two looks at the clock.
const STEPS: u32 = 16;

/// The pauses of one piece of work.
#[derive(Clone, Debug)]
pub struct Pace {
    /// End of the last pause, or the begin.
    since: Instant,
    /// Time that pauses took.
    paused: Duration,
    patience: Duration,
    steps: u32,
    hurry: Arc<AtomicBool>,
}

impl Pace {
    /// There are no pauses until a piece of work [begins](Self::begin), and while `hurry` is set.
    pub fn new(hurry: Arc<AtomicBool>) -> Self {
        Self { since: Instant::now(), paused: PATIENCE, patience: PATIENCE, steps: 0, hurry }
    }

    /// A piece of work begins.
    pub fn begin(&mut self) {
        (self.since, self.paused) = (Instant::now(), Duration::ZERO);
    }

    /// Makes a pause if it is time for one. Costs a look at the clock otherwise.
    pub fn breathe(&mut self) {
        let may_pause = self.paused < self.patience && !self.hurry.load(Ordering::Relaxed);
        if may_pause && self.since.elapsed() >= STRETCH {
            let begun = Instant::now();
            std::thread::sleep(PAUSE);
            self.since = Instant::now();
            self.paused += self.since - begun;
        }
    }

    /// The same after every few steps of a microsecond or so.
    pub fn step(&mut self) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS) {
            self.breathe();
        }
    }

    /// Time that pauses took.
    #[cfg(test)]
    pub fn paused(&self) -> Duration {
        self.paused
    }

    /// One for which the next pause is due.
    #[cfg(test)]
    pub fn tired() -> Self {
        let mut pace = Self::new(Arc::default());
        pace.begin();
        Self { since: pace.since - STRETCH, ..pace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(pace: &mut Pace) {
        pace.since = Instant::now() - STRETCH;
    }

    #[test]
    fn a_pause_follows_a_stretch_of_work_until_patience_ends() {
        let mut pace = Pace { patience: 2 * PAUSE, ..Pace::tired() };
        pace.since = Instant::now() + Duration::from_secs(3600);
        pace.breathe();
        assert_eq!(pace.paused, Duration::ZERO, "the stretch has not passed");
        work(&mut pace);
        pace.breathe();
        assert!(pace.paused >= PAUSE, "{:?}", pace.paused);
        while pace.paused < pace.patience {
            work(&mut pace);
            pace.breathe();
        }
        let all = pace.paused;
        work(&mut pace);
        pace.breathe();
        assert_eq!(pace.paused, all, "patience is at its end");
        pace.begin();
        work(&mut pace);
        pace.breathe();
        assert!(pace.paused >= PAUSE, "another piece of work has pauses of its own");
    }

    #[test]
    fn who_is_in_a_hurry_makes_none() {
        let mut pace = Pace::tired();
        pace.hurry.store(true, Ordering::Relaxed);
        pace.breathe();
        assert_eq!(pace.paused, Duration::ZERO);
        pace.hurry.store(false, Ordering::Relaxed);
        pace.breathe();
        assert!(pace.paused >= PAUSE);
    }

    #[test]
    fn work_that_has_not_begun_has_no_pauses() {
        let mut pace = Pace::new(Arc::default());
        work(&mut pace);
        let paused = pace.paused;
        pace.breathe();
        assert_eq!(pace.paused, paused);
    }

    #[test]
    fn small_steps_add_up() {
        let mut pace = Pace::tired();
        (1..STEPS).for_each(|_| pace.step());
        assert_eq!(pace.paused, Duration::ZERO);
        pace.step();
        assert!(pace.paused >= PAUSE);
    }
}
