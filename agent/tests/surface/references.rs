//! Pages and texts that are made from the code.

use sonde_agent::{config, registry};

use crate::golden;

#[test]
fn help() {
    golden::check("help.txt", &config::clap().render_help().to_string());
}

#[test]
fn metrics_reference() {
    golden::check_docs("metrics.md", &registry::reference());
}

#[test]
fn configuration_reference() {
    golden::check_docs("configuration.md", &config::reference());
}
