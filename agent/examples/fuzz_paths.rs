//! Fuzzes the readers of cgroup paths and of procfs for a bounded time: `fuzz_paths SECONDS [SEED]`.
//!
//! Replays `agent/fuzz/corpus`, then mutates it at random.

#[path = "../../collector/examples/support/fuzzer.rs"]
mod fuzzer;

use std::path::Path;

use fuzzer::Target;
use sonde_agent::fuzz::{fuzz_cgroup_lines, fuzz_cgroup_path, fuzz_mountinfo, fuzz_names};

const TARGETS: [Target; 4] = [
    ("cgroup_path", fuzz_cgroup_path),
    ("cgroup_lines", fuzz_cgroup_lines),
    ("mountinfo", fuzz_mountinfo),
    ("names", fuzz_names),
];

fn main() -> anyhow::Result<()> {
    fuzzer::run(&TARGETS, &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus"))
}
