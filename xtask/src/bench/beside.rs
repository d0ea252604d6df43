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
/// with its neighbour, the other side of which alternates, so that most of a drift of the machine cancels.
pub fn measure(
    rounds: u32,
    window: Duration,
    start: impl Fn() -> Result<Agent>,
    with: impl Fn(&Stream, &Agent) -> Result<Steady>,
) -> Result<Beside> {
    let stream = Stream::start()?;
    let pairs: Result<Vec<_>> = (0..rounds).map(|_| round(&stream, window, &start, &with)).collect();
    // What ended the stream is the cause of whatever failed beside it.
    stream.stop()?;
    let pairs = pairs?.concat();
    let bare: Vec<f64> = pairs.iter().map(|(_, without)| without.mean).collect();
    let ratios: Vec<f64> = pairs.iter().map(|(with, without)| with.mean / without.mean).collect();
    let method = format!(
        "{} pairs of neighbouring windows of {} s of one loopback connection, each end on a CPU of its own; without slices \
         of {} s below {:.0} % of their window's median, which were {} with the agent and {} without; median and quartiles \
         of the ratios",
        pairs.len(),
        window.as_secs_f64(),
        SLICE.min(window).as_secs_f64(),
        STALL * 100.0,
        pairs.iter().map(|(with, _)| with.left_out).sum::<usize>(),
        pairs.iter().map(|(_, without)| without.left_out).sum::<usize>()
    );
    Ok(Beside { bare: statistics::summary(&bare), ratio: statistics::summary(&ratios), method })
}

/// Two pairs of speeds, with the agent and without, that share one agent.
fn round(
    stream: &Stream,
    window: Duration,
    start: impl Fn() -> Result<Agent>,
    with: impl Fn(&Stream, &Agent) -> Result<Steady>,
) -> Result<[(Steady, Steady); 2]> {
    stream.settle();
    let before = stream.speed(window)?;
    let agent = start()?;
    stream.settle();
    let beside = [with(stream, &agent)?, with(stream, &agent)?];
    agent.stop()?;
    stream.settle();
    let after = stream.speed(window)?;
    Ok([(beside[0], before), (beside[1], after)])
}
