//! What a round trip of a small message costs with the agent, beside one without: over TCP and over UDP.

use std::time::Duration;

use anyhow::Result;

use super::figure::Figure;
use super::{Effort, agent, load, statistics};

/// What the design allows on a round trip over TCP, µs.
const TCP_TARGET: f64 = 0.6;

/// What is measured, and beside which agent.
struct Round {
    name: &'static str,
    settings: &'static [&'static str],
    target: Option<f64>,
    load: fn(u32) -> Result<Duration>,
}

const ROUNDS: [Round; 3] = [
    Round { name: "TCP round trip", settings: &[], target: Some(TCP_TARGET), load: load::tcp_rounds },
    // Where functions' exits can be had, counting UDP costs TCP nothing.
    Round {
        name: "TCP round trip without UDP's part in it",
        settings: &["--probe=udp=off"],
        target: Some(TCP_TARGET),
        load: load::tcp_rounds,
    },
    Round { name: "UDP round trip", settings: &[], target: None, load: load::udp_rounds },
];

/// Measures interleaved pairs.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    ROUNDS.iter().map(|round| one(round, effort)).collect()
}

fn one(round: &Round, effort: Effort) -> Result<Figure> {
    let each =
        || -> Result<f64> { Ok((round.load)(effort.rounds)?.as_secs_f64() * 1e6 / f64::from(effort.rounds)) };
    // The first use of anything is slower, and belongs to neither side.
    each()?;
    let (mut without, mut added, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..effort.pairs {
        let (bare, observed) = agent::pair(index, round.settings, each)?;
        without.push(bare);
        added.push(observed - bare);
        ratios.push(observed / bare);
    }
    let (bare, added, ratio) =
        (statistics::summary(&without), statistics::summary(&added), statistics::summary(&ratios));
    Ok(Figure {
        name: round.name.to_owned(),
        value: format!(
            "× {:.3} [{:.3}–{:.3}], {:+.2} µs [{:+.2}–{:+.2}] on {:.2} µs",
            ratio.median, ratio.low, ratio.high, added.median, added.low, added.high, bare.median
        ),
        method: format!(
            "{} interleaved pairs of {} round trips of 128 bytes over loopback, both ends in one thread and both \
             observed, agent with {}; median and quartiles",
            effort.pairs,
            effort.rounds,
            if round.settings.is_empty() { "its defaults".to_owned() } else { round.settings.join(" ") }
        ),
        target: round.target.map(|most| (format!("≤ {most} µs added"), added.median <= most)),
    })
}
