//! Benchmarks that are examples of their own crate and print `key=value` lines.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::figure::Figure;
use crate::{build, progress};

const SCRAPE_TARGET_MS: f64 = 50.0;

/// The collector's log: samples per second until they are durable.
pub fn log() -> Result<Vec<Figure>> {
    let values = run("sonde-collector", "bench_log")?;
    let figure = |(key, value): (&String, &String)| Figure {
        name: format!("log: {}", key.replace('_', " ")),
        value: value.clone(),
        method: "collector/examples/bench_log.rs, release build".into(),
        target: None,
    };
    Ok(values.iter().map(figure).collect())
}

/// `/metrics` with 100,000 series.
pub fn scrape() -> Result<Vec<Figure>> {
    let values = run("sonde-agent", "bench_scrape")?;
    let mut figures = Vec::new();
    for (key, value) in values.iter().filter(|(key, _)| key.ends_with("_cpu_ms_per_scrape")) {
        let time: f64 = value.parse().with_context(|| format!("read {key}={value}"))?;
        figures.push(Figure {
            name: format!("/metrics with 100,000 series, {}", key.trim_end_matches("_cpu_ms_per_scrape")),
            value: format!("{time} ms of CPU"),
            method:
                "CPU time over 20 scrapes without compression: agent/examples/bench_scrape.rs, release build"
                    .into(),
            target: Some((format!("≤ {SCRAPE_TARGET_MS} ms"), time <= SCRAPE_TARGET_MS)),
        });
    }
    ensure!(!figures.is_empty(), "bench_scrape printed no figure");
    Ok(figures)
}

fn run(package: &str, example: &str) -> Result<BTreeMap<String, String>> {
    let arguments = ["--release", "--locked", "--package", package, "--example", example];
    progress::run(&format!("build {example}"), build::cargo()?.arg("build").args(arguments))?;
    let output = progress::output(build::cargo()?.args(["run", "--quiet"]).args(arguments))?;
    let pairs = output.lines().filter_map(|line| line.trim().split_once('='));
    let values: BTreeMap<String, String> =
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    ensure!(!values.is_empty(), "{example} printed no key=value line");
    Ok(values)
}
