//! What a stream loses beside the agent, from windows of one stream that lie side by side.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::statistics::{self, Steady, Summary};
use super::stream::{SLICE, STALL, Stream};

/// Speeds with the agent and without.
pub struct Beside {
    /// Bytes per second without the agent.
    pub bare: Summary,
    /// With the agent to without.
    pub ratio: Summary,
    /// How it was measured.
    pub method: String,
}

/// Measures `rounds` of four windows: one without the agent, two with it, one without. Each window with it is compared
/// with its neighbour, the other side of which alternates, so that a drift of the machine cancels.
pub fn measure(
    rounds: u32,
    window: Duration,
    start: impl Fn() -> Result<Agent>,
    with: impl Fn(&Stream, &Agent) -> Result<Steady>,
) -> Result<Beside> {
    let stream = Stream::start()?;
    let (mut bare, mut ratios) = (Vec::new(), Vec::new());
    let mut left_out = [0; 2];
    for _ in 0..rounds {
        stream.settle()?;
        let before = stream.speed(window)?;
        let agent = start()?;
        stream.settle()?;
        let beside = [with(&stream, &agent)?, with(&stream, &agent)?];
        agent.stop()?;
        stream.settle()?;
        let after = stream.speed(window)?;
        for (with, without) in beside.into_iter().zip([before, after]) {
            bare.push(without.mean);
            ratios.push(with.mean / without.mean);
            left_out[0] += with.left_out;
            left_out[1] += without.left_out;
        }
    }
    stream.stop()?;
    let method = format!(
        "{} interleaved pairs of windows of {} s of one loopback connection, each end on a CPU of its own; without slices of \
         {} s below {:.0} % of their window's median, which were {} with the agent and {} without; median and quartiles of \
         the ratios",
        rounds * 2,
        window.as_secs_f64(),
        SLICE.as_secs_f64(),
        STALL * 100.0,
        left_out[0],
        left_out[1]
    );
    Ok(Beside { bare: statistics::summary(&bare), ratio: statistics::summary(&ratios), method })
}
