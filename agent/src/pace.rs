//! Pauses in long work, so that it keeps nobody from a CPU for longer than a moment.
//!
//! A thread that has waited for the CPU may get it only when the running one has used up its slice and the scheduler's
//! clock ticks: after some milliseconds, in which a busy connection fills its socket's buffer and stops. To give up the
//! CPU for a moment now and then lets it go on, whatever the cgroups of the two and their weights, at the price of some
//! wake-ups.

use std::time::{Duration, Instant};

/// Work between two pauses. At 3 GB/s the largest receive buffer (6 MiB, `net.ipv4.tcp_rmem`) lasts four times as long.
const STRETCH: Duration = Duration::from_micros(500);
/// The shortest time that lets another thread run; the kernel makes about 70 µs of it (50 µs of timer slack, prctl(2)).
const PAUSE: Duration = Duration::from_micros(20);
/// Pauses of one piece of work take no longer together, or just so much: where many others want the CPU, each pause is
/// long, and a busy node must be seen as well.
const PATIENCE: Duration = Duration::from_millis(50);

/// The pauses of one piece of work.
#[derive(Debug)]
pub struct Pace {
    /// End of the last pause.
    since: Instant,
    /// Time that pauses took.
    paused: Duration,
    patience: Duration,
}

impl Pace {
    /// The work begins.
    pub fn begin() -> Self {
        Self { since: Instant::now(), paused: Duration::ZERO, patience: PATIENCE }
    }

    /// Makes a pause if it is time for one. Costs a look at the clock otherwise.
    pub fn breathe(&mut self) {
        if self.paused < self.patience && self.since.elapsed() >= STRETCH {
            let begun = Instant::now();
            std::thread::sleep(PAUSE);
            self.since = Instant::now();
            self.paused += self.since - begun;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_follows_a_stretch_of_work_until_patience_ends() {
        let worked = || Instant::now() - STRETCH;
        let mut pace = Pace { patience: 2 * PAUSE, ..Pace::begin() };
        pace.since = Instant::now() + STRETCH;
        pace.breathe();
        assert_eq!(pace.paused, Duration::ZERO, "the stretch has just begun");
        pace.since = worked();
        pace.breathe();
        let once = pace.paused;
        assert!(once >= PAUSE, "{once:?}");
        while pace.paused < pace.patience {
            pace.since = worked();
            pace.breathe();
        }
        let (all, since) = (pace.paused, worked());
        pace.since = since;
        pace.breathe();
        assert_eq!((pace.paused, pace.since), (all, since), "patience is at its end");
    }
}
