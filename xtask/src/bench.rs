//! `cargo xtask bench [NAME]`: what the agent costs, measured the way docs/benchmarks.md says.
//!
//! Figures with and without the agent come from interleaved pairs in one run, as the median of the ratios
//! with their spread: the machine is shared, and only what was measured side by side can be compared. Load
//! goes over loopback, and every byte and every connection of it is counted.

mod agent;
mod beside;
mod bulk;
mod connect;
pub mod crowd;
mod examples;
mod figure;
mod idle;
mod load;
mod optional;
mod programs;
mod rounds;
mod scale;
mod statistics;
mod stream;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::results::Results;
use crate::{build, paths};
use figure::Figure;

/// What to measure.
#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// One of connect, rounds, programs, bulk, idle, scale, optional, log, scrape; without it all
    name: Option<String>,
    /// Few rounds: shows that the benchmarks work, the figures mean little
    #[arg(long)]
    quick: bool,
    /// Write docs/benchmarks.md from this run
    #[arg(long, conflicts_with_all = ["name", "quick"])]
    bless: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Interleaved pairs.
    pub pairs: u32,
    /// TCP connect/close cycles in one half of a pair.
    pub cycles: u32,
    /// Round trips in one half of a pair.
    pub rounds: u32,
    /// Rounds of windows of a bulk stream, two pairs each.
    pub bulk_rounds: u32,
    /// Time of one window.
    pub bulk_window: Duration,
    /// How long the idle agent is watched, in seconds.
    pub idle_seconds: u64,
    /// Containers of the full node.
    pub containers: usize,
    /// Connections that each of them holds.
    pub connections_each: usize,
    /// Scrapes of the full node.
    pub scrapes: u32,
    /// Rounds of windows of a bulk stream beside the full node, two pairs each.
    pub scale_rounds: u32,
    /// Time between two scrapes there, and of one window.
    pub scale_interval: Duration,
}

const FULL: Effort = Effort {
    pairs: 12,
    cycles: 20_000,
    rounds: 200_000,
    bulk_rounds: 12,
    bulk_window: Duration::from_secs(15),
    idle_seconds: 60,
    containers: 200,
    connections_each: 50,
    scrapes: 20,
    scale_rounds: 12,
    scale_interval: Duration::from_secs(15),
};
const QUICK: Effort = Effort {
    pairs: 2,
    cycles: 2_000,
    rounds: 10_000,
    bulk_rounds: 1,
    bulk_window: Duration::from_millis(200),
    idle_seconds: 2,
    containers: 8,
    connections_each: 5,
    scrapes: 3,
    scale_rounds: 1,
    scale_interval: Duration::from_millis(200),
};

struct Benchmark {
    name: &'static str,
    /// Whether it starts the agent.
    needs_root: bool,
    measure: fn(Effort) -> Result<Vec<Figure>>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "connect", needs_root: true, measure: connect::measure },
    Benchmark { name: "rounds", needs_root: true, measure: rounds::measure },
    Benchmark { name: "programs", needs_root: true, measure: programs::measure },
    Benchmark { name: "bulk", needs_root: true, measure: bulk::measure },
    Benchmark { name: "idle", needs_root: true, measure: idle::measure },
    Benchmark { name: "scale", needs_root: true, measure: scale::measure },
    Benchmark { name: "optional", needs_root: true, measure: optional::measure },
    Benchmark { name: "log", needs_root: false, measure: |_| examples::log() },
    Benchmark { name: "scrape", needs_root: false, measure: |_| examples::scrape() },
];

/// Measures and prints; a target that is not met is shown and is no failure, since the machine may be busy.
pub fn run(arguments: &Arguments) -> Result<()> {
    let is_chosen =
        |benchmark: &&Benchmark| arguments.name.as_deref().is_none_or(|only| only == benchmark.name);
    let chosen: Vec<&Benchmark> = BENCHMARKS.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
        bail!("no such benchmark; there are {}", names.join(", "));
    }
    build::ensure()?;
    let effort = if arguments.quick { QUICK } else { FULL };
    let mut figures = Vec::new();
    for benchmark in chosen {
        let measured =
            (benchmark.measure)(effort).with_context(|| format!("benchmark {}", benchmark.name))?;
        measured.iter().for_each(|figure| println!("{figure}"));
        figures.extend(measured);
    }
    if arguments.bless {
        let page = paths::root()?.join("docs/benchmarks.md");
        fs::write(&page, figure::render(&figures)).with_context(|| format!("write {}", page.display()))?;
    }
    Ok(())
}

/// Runs every benchmark shortly, to see that it still works; figures are not judged.
pub fn smoke() -> Result<Results> {
    build::ensure()?;
    let mut results = Results::default();
    for benchmark in BENCHMARKS {
        let name = format!("bench {}", benchmark.name);
        if benchmark.needs_root && !rustix::process::geteuid().is_root() {
            results.skipped.push((name, "not root".to_owned()));
            continue;
        }
        let measured = (benchmark.measure)(QUICK);
        let result = measured.map(|figures| figures.iter().for_each(|figure| println!("{figure}")));
        results.absorb(Results::of_one(&name, result));
    }
    Ok(results)
}
