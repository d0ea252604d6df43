//! `cargo xtask endure`: the endurance test with more rounds than `cargo xtask test` gives it.

use anyhow::Result;

use crate::{build, paths, progress};

/// How long.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Rounds of churn: ten containers, a network namespace and some dozens of processes each
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
}

/// Runs the test on release builds.
pub fn run(arguments: &Arguments) -> Result<()> {
    build::ensure()?;
    let mut command = build::cargo()?;
    command
        .args(["test", "--package", "sonde-tests", "--locked", "--test", "e2e", "endurance"])
        .env("SONDE_BIN_DIR", paths::target()?.join("release"))
        .env("SONDE_ENDURANCE_ROUNDS", arguments.rounds.to_string());
    progress::run(&format!("{} rounds of churn", arguments.rounds), &mut command)
}
