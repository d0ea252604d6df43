//! What the agent shows to the outside: expositions, help texts, references.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where the value is missing")]

mod exposition;
mod golden;
mod promtool;
mod protobuf;
mod references;
#[path = "../../src/skip.rs"]
mod skip;
