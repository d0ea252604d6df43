//! `cargo xtask test`: from a fresh machine to all tests.
//!
//! Installs what the tests need, then runs them cheap first. A failing stage does not stop the ones behind
//! it; the failures are listed at the end, before the last line with the sums. In CI (`CI=true`) a skip
//! that is not in `tests/allowed-skips.txt` is a failure.

mod setup;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::results::{self, Results};
use crate::{bench, build, fuzz, image, paths, progress, tidy, vm};

/// Seconds that each fuzzer gets here; `cargo xtask fuzz` gives more.
const FUZZ_SECONDS: u64 = 5;

/// What can be left out while working on something.
#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Run only the stages whose name contains this (repeatable)
    #[arg(long = "only", value_name = "STAGE")]
    only: Vec<String>,
}

type Stage = (&'static str, fn() -> Result<Results>);

/// All stages, cheap first; but everything needs what `build` makes, since the agent embeds the kernel object.
const STAGES: &[Stage] = &[
    ("build", built),
    ("tidy", || Ok(tidy::check())),
    ("unit", unit),
    ("image", || Ok(Results::of_one("image", image::ensure().map(drop)))),
    ("end-to-end", end_to_end),
    ("kernels", || vm::run_matrix(&vm::Arguments::default())),
    ("fuzz", || fuzz::fuzz(FUZZ_SECONDS)),
    ("bench", bench::smoke),
];

/// Runs the stages and fails when one test of any failed.
pub fn run(arguments: &Arguments) -> Result<()> {
    for name in &arguments.only {
        if !STAGES.iter().any(|(stage, _)| stage.contains(name.as_str())) {
            let names: Vec<&str> = STAGES.iter().map(|(stage, _)| *stage).collect();
            bail!("no stage is called `{name}`; there are {}", names.join(", "));
        }
    }
    setup::ensure()?;
    let chosen =
        |stage: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| stage.contains(only));
    let mut all = Results::default();
    for (name, stage) in STAGES.iter().filter(|(name, _)| chosen(name)) {
        all.absorb(run_stage(name, *stage));
    }
    judge_skips(&mut all)?;
    conclude(&all)
}

fn run_stage(name: &str, stage: fn() -> Result<Results>) -> Results {
    eprintln!("\n== {name}");
    let started = Instant::now();
    // A stage that cannot even start is a failure like any other, and the next stage still runs.
    let results = stage().unwrap_or_else(|error| Results::of_one(name, Err(error)));
    eprintln!("== {name}: {} ({})", results.line(), progress::elapsed(started.elapsed()));
    for failure in &results.failures {
        eprintln!("   failed: {failure}");
    }
    results
}

fn judge_skips(all: &mut Results) -> Result<()> {
    if matches!(std::env::var("CI").as_deref(), Err(_) | Ok("" | "false" | "0")) {
        return Ok(());
    }
    // Without the file nothing may be skipped.
    let allowed = fs::read_to_string(paths::root()?.join("tests/allowed-skips.txt")).unwrap_or_default();
    let unlisted: Vec<String> = results::unlisted(&all.skipped, &allowed)
        .into_iter()
        .map(|(name, reason)| format!("{name}: skipped ({reason}) and not in tests/allowed-skips.txt"))
        .collect();
    all.failures.extend(unlisted);
    Ok(())
}

fn conclude(all: &Results) -> Result<()> {
    println!();
    for (name, reason) in &all.skipped {
        println!("skipped: {name}: {reason}");
    }
    for failure in &all.failures {
        println!("failed: {failure}");
    }
    println!("{}", all.line());
    if all.failures.is_empty() { Ok(()) } else { bail!("{} failed", all.failures.len()) }
}

fn built() -> Result<Results> {
    Ok(Results::of_one("build", build::ensure()))
}

fn unit() -> Result<Results> {
    let mut command = build::cargo()?;
    command.args(["test", "--workspace", "--exclude", "sonde-tests", "--locked", "--no-fail-fast"]);
    cargo_test("unit and property tests", &mut command)
}

fn end_to_end() -> Result<Results> {
    // Also when this stage runs alone: nothing old may be tested.
    let image = image::ensure()?;
    let mut command = build::cargo()?;
    command
        .args(["test", "--package", "sonde-tests", "--locked", "--no-fail-fast", "--", "--test-threads=1"])
        .env("SONDE_BIN_DIR", paths::target()?.join("release"))
        .env("SONDE_IMAGE", image);
    cargo_test("end-to-end tests", &mut command)
}

/// Runs `cargo test`, reads its result lines and takes the skips that the tests wrote down into account.
fn cargo_test(title: &str, command: &mut Command) -> Result<Results> {
    let skips = skip_log(title)?;
    // Otherwise cargo colours the words that are looked for.
    command.env("CARGO_TERM_COLOR", "never").env("SONDE_SKIP_LOG", &skips);
    let (status, log) = progress::run_logged(title, command)?;
    let output = fs::read(&log).with_context(|| format!("read {}", log.display()))?;
    let output = String::from_utf8_lossy(&output);
    let skipped = fs::read_to_string(&skips).with_context(|| format!("read {}", skips.display()))?;
    if !status.success() {
        eprintln!("{}\n  (whole output: {})", failure_report(&output), log.display());
    }
    Ok(Results::from_cargo(&output, status).with_skips(&skipped))
}

fn skip_log(title: &str) -> Result<PathBuf> {
    let file = paths::logs()?.join(format!("{}.skips", title.replace(' ', "-")));
    fs::write(&file, "").with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// The parts of the output that say why something failed.
fn failure_report(output: &str) -> String {
    let wanted = |block: &&str| {
        block.contains("panicked at")
            || block.starts_with("error")
            || block.contains("\nerror")
            || block.starts_with("---- ")
    };
    let blocks: Vec<&str> = output.split("\n\n").filter(wanted).collect();
    blocks.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_explains_a_failure_is_shown() {
        let output = "running 2 tests\ntest a ... ok\n\nfailures:\n\n---- b stdout ----\nthread 'b' panicked at x:1:\nleft 1\n\nfailures:\n    b\n";
        assert_eq!(failure_report(output), "---- b stdout ----\nthread 'b' panicked at x:1:\nleft 1");
    }
}
