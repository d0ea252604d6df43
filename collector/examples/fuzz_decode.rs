//! Fuzzes every decoder of foreign bytes for a bounded time: `fuzz_decode SECONDS [SEED]`.
//!
//! Replays `collector/fuzz/corpus`, then mutates it at random.

#[path = "support/fuzzer.rs"]
mod fuzzer;

use std::path::Path;

use fuzzer::Target;
use sonde_collector::fuzz::{fuzz_headers, fuzz_protobuf, fuzz_remote_write, fuzz_segment};

const TARGETS: [Target; 4] = [
    ("remote_write", fuzz_remote_write),
    ("protobuf", fuzz_protobuf),
    ("segment", fuzz_segment),
    ("headers", fuzz_headers),
];

fn main() -> anyhow::Result<()> {
    fuzzer::run(&TARGETS, &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus"))
}
