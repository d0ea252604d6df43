//! The machine's own kernel as a column of the matrix. Its behaviour is proved by the end-to-end tests; what loads,
//! and what the verifier counted, is asked of the doctor.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::console::Outcome;
use super::kernels::Kernel;
use super::report::Run;
use crate::paths;

/// As for the kernels in `tests/kernels.toml`.
const MAX_INSTRUCTIONS: u64 = 100_000;

/// Loads every feature once on this machine.
pub fn run() -> Result<Run> {
    let output = Command::new(paths::release_binary("sonde-agent")?)
        .args(["doctor", "--json"])
        .output()
        .context("start sonde-agent doctor")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("read the doctor's report")?;
    let run = read(&report)?;
    ensure!(output.status.success(), "sonde-agent doctor: {}: {report:#}", output.status);
    Ok(run)
}

fn read(report: &Value) -> Result<Run> {
    let release = report["kernel"].as_str().context("the report has no kernel")?;
    let name = release.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let list =
        |key: &str| report[key].as_array().cloned().with_context(|| format!("the report has no {key}"));
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let verdict = |probe: &Value| {
        let detail = probe["choice"].as_str().or_else(|| probe["reason"].as_str()).unwrap_or_default();
        (text(probe, "name"), format!("{}: {detail}", text(probe, "verdict")))
    };
    let program = |program: &Value| (text(program, "name"), program["verified_instructions"].as_u64());
    let outcome = Outcome {
        passed: vec!["every_feature_loads".to_owned()],
        verdicts: list("probes")?.iter().map(verdict).collect(),
        programs: list("programs")?.iter().map(program).collect(),
        done: true,
        ..Outcome::default()
    };
    let kernel = Kernel {
        name,
        package: String::new(),
        modules: Vec::new(),
        cgroup_v1: false,
        max_instructions: MAX_INSTRUCTIONS,
    };
    Ok(Run { kernel, package: "the machine itself".to_owned(), outcome })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_doctors_report_is_a_column() {
        let report = json!({
            "kernel": "6.18.44-x",
            "probes": [{ "name": "tcp/lifecycle", "verdict": "ok", "choice": "tp_btf/x" }],
            "programs": [{ "name": "tcp_state", "verified_instructions": 7 }],
        });
        let run = read(&report).unwrap();
        assert_eq!(run.kernel.name, "6.18");
        assert_eq!(run.outcome.verdicts, [("tcp/lifecycle".to_owned(), "ok: tp_btf/x".to_owned())]);
        assert_eq!(run.outcome.programs, [("tcp_state".to_owned(), Some(7))]);
        assert!(read(&json!({})).is_err());
    }
}
