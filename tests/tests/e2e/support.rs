//! What the tests of several families share.

use std::path::Path;
use std::process::Command;

use sonde_tests::docker::Docker;

/// The program that makes exact traffic.
pub const TRAFFIC: &str = env!("CARGO_BIN_EXE_traffic");

/// The dockerd of this run, with an image of [`TRAFFIC`].
#[track_caller]
pub fn docker() -> Docker {
    Docker::shared(Path::new(TRAFFIC))
}

/// A command that makes traffic on the host.
pub fn traffic(arguments: &[&str]) -> Command {
    let mut command = Command::new(TRAFFIC);
    command.args(arguments);
    command
}
