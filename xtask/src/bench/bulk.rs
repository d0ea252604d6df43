//! Bulk throughput over loopback with the agent, beside one without.

use anyhow::Result;

use super::figure::Figure;
use super::{Effort, agent, load, statistics};

/// The least share of the throughput that must be left.
const TARGET: f64 = 0.99;

/// Measures interleaved pairs.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let throughput = || load::bulk(effort.bulk_time);
    throughput()?;
    let mut bare = Vec::new();
    let mut ratios = Vec::new();
    for index in 0..effort.bulk_pairs {
        let (without, with) = agent::pair(index, &[], throughput)?;
        bare.push(without);
        ratios.push(with / without);
    }
    let ratio = statistics::summary(&ratios);
    Ok(vec![Figure {
        name: "bulk TCP stream with / without agent".into(),
        value: format!(
            "{:.1} % [{:.1}–{:.1}] of {:.2} GB/s",
            ratio.median * 100.0,
            ratio.low * 100.0,
            ratio.high * 100.0,
            statistics::summary(&bare).median / 1e9
        ),
        method: format!(
            "{} interleaved pairs of {} s of one loopback connection, each end on a CPU of its own; median and quartiles \
             of the ratios",
            effort.bulk_pairs,
            effort.bulk_time.as_secs_f64()
        ),
        target: Some((format!("≥ {:.0} %", TARGET * 100.0), ratio.median >= TARGET)),
    }])
}
