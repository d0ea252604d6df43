//! Run time of each kernel program, from the kernel's own statistics.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::agent::Agent;
use super::figure::Figure;
use super::{Effort, load};
use crate::exposition::Sample;

/// A loopback address that the other benchmarks do not use.
const ROUND: u32 = 5000;
/// Scrapes during the load, so that the iterators run too.
const SCRAPES: u32 = 10;

/// Runs connects and scrapes under one agent and divides each program's time by its runs.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let agent = Agent::start_with(&["--program-statistics"])?;
    let before = agent.scrape()?;
    for scrape in 0..SCRAPES {
        load::connect_close(ROUND + scrape, effort.cycles / SCRAPES)?;
        agent.scrape()?;
    }
    let during = agent.scrape()?;
    let after = agent.scrape_after(&during)?;
    agent.stop()?;
    let runs = growth(&before, &after, "sonde_agent_program_runs_total");
    let seconds = growth(&before, &after, "sonde_agent_program_run_seconds_total");
    let method = format!(
        "growth of run_time_ns over growth of run_cnt during {} connect/close cycles and {SCRAPES} scrapes",
        effort.cycles
    );
    let figures: Vec<Figure> = runs
        .iter()
        .filter(|(_, runs)| **runs > 0.0)
        .map(|(program, runs)| Figure {
            name: format!("program {program}"),
            value: format!(
                "{:.0} ns per run ({runs} runs)",
                seconds.get(program).unwrap_or(&f64::NAN) * 1e9 / runs
            ),
            method: method.clone(),
            target: None,
        })
        .collect();
    ensure!(!figures.is_empty(), "no program has run");
    Ok(figures)
}

fn growth(before: &[Sample], after: &[Sample], name: &str) -> BTreeMap<String, f64> {
    let by_program = |samples: &[Sample]| -> BTreeMap<String, f64> {
        let own = samples.iter().filter(|sample| sample.name == name);
        own.filter_map(|sample| Some((sample.labels.get("program")?.clone(), sample.value))).collect()
    };
    let before = by_program(before);
    let after = by_program(after).into_iter();
    after.map(|(program, value)| (program.clone(), value - before.get(&program).unwrap_or(&0.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition;

    #[test]
    fn growth_is_per_program_and_a_new_program_counts_from_zero() {
        let before = exposition::parse("r{program=\"a\"} 5\n");
        let after = exposition::parse("r{program=\"a\"} 7\nr{program=\"b\"} 3\nother{program=\"a\"} 9\n");
        let expected = [("a".to_owned(), 2.0), ("b".to_owned(), 3.0)];
        assert_eq!(growth(&before, &after, "r"), expected.into());
    }
}
