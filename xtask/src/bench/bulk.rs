//! Bulk throughput over loopback with the agent, beside one without.

use anyhow::Result;

use super::Effort;
use super::agent::Agent;
use super::beside::{self, Beside};
use super::figure::Figure;

/// The least share of the throughput that must be left.
pub const TARGET: f64 = 0.99;

/// Measures windows side by side.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let window = effort.bulk_window;
    let Beside { bare, ratio, method } =
        beside::measure(effort.bulk_rounds, window, Agent::start, |stream, _| stream.speed(window))?;
    Ok(vec![Figure {
        name: "bulk TCP stream with / without agent".into(),
        value: format!("{} of {:.2} GB/s", ratio.percent(), bare.median / 1e9),
        method,
        target: Some((format!("≥ {:.0} %", TARGET * 100.0), ratio.median >= TARGET)),
    }])
}
