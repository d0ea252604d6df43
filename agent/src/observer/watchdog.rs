//! Watches what the programs of optional probes cost, as a share of all CPUs of the node.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::kernel::FeatureId;
use crate::model::BootNanos;

/// What programs had taken, and when that was.
#[derive(Debug, Default)]
pub struct Watchdog(HashMap<FeatureId, (BootNanos, Duration)>);

impl Watchdog {
    /// Share of all CPUs' time that the programs of one optional probe may take.
    pub const BUDGET: f64 = 0.01;
    /// Over so long a time at least: a burst is no reason.
    const PERIOD: Duration = Duration::from_secs(10);

    /// Takes in the run time of a feature's programs so far, on a node with so many CPUs. At the end of a period, the share
    /// of the CPUs that they took in it when that is too much.
    pub fn exceeded(
        &mut self,
        feature: FeatureId,
        taken: Duration,
        now: BootNanos,
        cpus: NonZeroUsize,
    ) -> Option<f64> {
        let (since, before) = *self.0.entry(feature).or_insert((now, taken));
        let elapsed = Duration::from_nanos(now.since(since));
        if elapsed < Self::PERIOD {
            return None;
        }
        self.0.insert(feature, (now, taken));
        let share = taken.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64() / cpus.get() as f64;
        (share > Self::BUDGET).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_given_up_after_a_period_above_its_budget() {
        for cpus in [1, 48] {
            let at = |seconds: u64| BootNanos(seconds * 1_000_000_000);
            let cpus = NonZeroUsize::new(cpus).unwrap();
            let cost = |seconds: f64| Duration::from_secs_f64(seconds * cpus.get() as f64 * Watchdog::BUDGET);
            let mut watchdog = Watchdog::default();
            let mut exceeded = |taken, now| watchdog.exceeded(FeatureId::RunQueue, taken, at(now), cpus);
            assert_eq!(exceeded(cost(500.0), 100), None, "what was before the first look");
            assert_eq!(exceeded(cost(509.0), 109), None, "the period is not over");
            assert_eq!(exceeded(cost(509.5), 110), None, "just within");
            let share = exceeded(cost(530.0), 120).expect("two times the budget");
            assert!((share / Watchdog::BUDGET - 2.05).abs() < 1e-6, "{share}");
        }
    }
}
