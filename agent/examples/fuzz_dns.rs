//! Fuzzes the reader of DNS answers for a bounded time: `fuzz_dns SECONDS [SEED]`.
//!
//! Replays `agent/fuzz/dns`, then mutates it at random.

#[path = "../../collector/examples/support/fuzzer.rs"]
mod fuzzer;

use std::path::Path;

use fuzzer::Target;
use sonde_agent::fuzz::fuzz_dns;

const TARGETS: [Target; 1] = [("dns", fuzz_dns)];

fn main() -> anyhow::Result<()> {
    fuzzer::run(&TARGETS, &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/dns"))
}
