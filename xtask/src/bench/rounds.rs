//! What a round trip of a small message costs with the agent, beside one without: over TCP and over UDP.

use anyhow::Result;

use super::figure::Figure;
use super::{Effort, agent, load, statistics};

/// What the design allows on a round trip over TCP, µs.
const TCP_TARGET: f64 = 0.6;

/// Measures interleaved pairs.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let tcp = || load::tcp_rounds(effort.rounds);
    let udp = || load::udp_rounds(effort.rounds);
    Ok(vec![one("TCP", effort, Some(TCP_TARGET), &tcp)?, one("UDP", effort, None, &udp)?])
}

fn one(
    protocol: &str,
    effort: Effort,
    target: Option<f64>,
    rounds: &dyn Fn() -> Result<std::time::Duration>,
) -> Result<Figure> {
    let each = || -> Result<f64> { Ok(rounds()?.as_secs_f64() * 1e6 / f64::from(effort.rounds)) };
    // The first use of anything is slower, and belongs to neither side.
    each()?;
    let (mut without, mut added, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..effort.pairs {
        let (bare, observed) = agent::pair(index, each)?;
        without.push(bare);
        added.push(observed - bare);
        ratios.push(observed / bare);
    }
    let (bare, added, ratio) =
        (statistics::summary(&without), statistics::summary(&added), statistics::summary(&ratios));
    Ok(Figure {
        name: format!("{protocol} round trip"),
        value: format!(
            "× {:.3} [{:.3}–{:.3}], {:+.2} µs [{:+.2}–{:+.2}] on {:.2} µs",
            ratio.median, ratio.low, ratio.high, added.median, added.low, added.high, bare.median
        ),
        method: format!(
            "{} interleaved pairs of {} round trips of 128 bytes over loopback, both ends in one thread and both \
             observed; median and quartiles",
            effort.pairs, effort.rounds
        ),
        target: target.map(|most| (format!("≤ {most} µs added"), added.median <= most)),
    })
}
