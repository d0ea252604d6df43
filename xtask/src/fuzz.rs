//! `cargo xtask fuzz`: every fuzzer for a bounded time.
//!
//! A fuzzer is an example whose name begins with `fuzz_`. It takes its seconds as first argument, prints its
//! seed, and fails with the input that broke the decoder.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::results::Results;
use crate::{build, build_ebpf, progress};

/// How long.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Seconds for each fuzzer
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs all fuzzers and fails when one found something.
pub fn run(arguments: &Arguments) -> Result<()> {
    let results = fuzz(arguments.seconds)?;
    println!("{}", results.line());
    if results.failures.is_empty() { Ok(()) } else { bail!("{}", results.failures.join("\n")) }
}

/// Runs all fuzzers for `seconds` each.
pub fn fuzz(seconds: u64) -> Result<Results> {
    build_ebpf::ensure()?;
    let metadata =
        progress::output(build::cargo()?.args(["metadata", "--no-deps", "--format-version=1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("parse cargo's metadata")?;
    let mut results = Results::default();
    let fuzzers = fuzzers(&metadata);
    ensure!(!fuzzers.is_empty(), "no example is called fuzz_…");
    for (package, example) in fuzzers {
        let mut command = build::cargo()?;
        command.args(["run", "--release", "--locked", "--package", &package, "--example", &example, "--"]);
        let result =
            progress::run(&format!("fuzz {example} for {seconds} s"), command.arg(seconds.to_string()));
        results.absorb(Results::of_one(&example, result));
    }
    Ok(results)
}

/// Packages and examples.
fn fuzzers(metadata: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            let is_example =
                target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "example"));
            if let (true, Some(name), Some(package)) =
                (is_example, target["name"].as_str(), package["name"].as_str())
                && name.starts_with("fuzz_")
            {
                found.push((package.to_owned(), name.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fuzzers_are_examples_of_that_name() {
        let metadata = json!({ "packages": [{ "name": "p", "targets": [
            { "kind": ["example"], "name": "fuzz_decode" },
            { "kind": ["example"], "name": "bench_log" },
            { "kind": ["bin"], "name": "fuzz_not" },
        ]}]});
        assert_eq!(fuzzers(&metadata), [("p".to_owned(), "fuzz_decode".to_owned())]);
    }
}
