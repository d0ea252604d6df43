//! What a TCP connect/close cycle costs with the agent, beside one without.

use std::cell::Cell;

use anyhow::Result;

use super::figure::Figure;
use super::{Effort, agent, load, statistics};

/// Measures interleaved pairs.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let round = Cell::new(0);
    let cycle = || -> Result<f64> {
        round.set(round.get() + 1);
        let time = load::connect_close(round.get(), effort.cycles)?;
        Ok(time.as_secs_f64() * 1e6 / f64::from(effort.cycles))
    };
    // The first use of anything is slower, and belongs to neither side.
    cycle()?;
    let mut without = Vec::new();
    let mut added = Vec::new();
    let mut ratios = Vec::new();
    for index in 0..effort.pairs {
        let (bare, observed) = agent::pair(index, &[], cycle)?;
        without.push(bare);
        added.push(observed - bare);
        ratios.push(observed / bare);
    }
    let (bare, added, ratio) =
        (statistics::summary(&without), statistics::summary(&added), statistics::summary(&ratios));
    Ok(vec![Figure {
        name: "TCP connect/close cycle".into(),
        value: format!(
            "× {:.3} [{:.3}–{:.3}], {:+.2} µs [{:+.2}–{:+.2}] on {:.1} µs",
            ratio.median, ratio.low, ratio.high, added.median, added.low, added.high, bare.median
        ),
        method: format!(
            "{} interleaved pairs of {} cycles over loopback, both ends observed; median and quartiles of the ratios",
            effort.pairs, effort.cycles
        ),
        target: None,
    }])
}
