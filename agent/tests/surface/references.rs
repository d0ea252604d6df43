//! Pages and texts that are made from the code.

use std::fs;
use std::path::Path;

use sonde_agent::kernel::FeatureId;
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

/// The page comes from a run of the kernel matrix, so all that can be asked here is whether it is of this program.
#[test]
fn the_page_of_kernels_has_every_feature_and_every_kernel() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let page = read("docs/kernels.md");
    let (_, works) = page.split_once("\n## What works\n").unwrap();
    let mut rows =
        works.lines().filter_map(|line| Some(line.strip_prefix("| ")?.split(" | ").collect::<Vec<_>>()));
    let head = rows.next().unwrap();
    let features: Vec<&str> = rows.take_while(|row| row[0] != "program").map(|row| row[0]).collect();
    let kernels: toml::Table = read("tests/kernels.toml").parse().unwrap();
    let kernels = kernels["kernel"].as_array().unwrap().iter().map(|kernel| kernel["name"].as_str().unwrap());
    let has_column = |kernel: &str| head.iter().any(|cell| cell.trim_end_matches(" |") == kernel);
    let missing: Vec<String> = FeatureId::ALL
        .iter()
        .map(FeatureId::to_string)
        .filter(|feature| !features.contains(&feature.as_str()))
        .chain(kernels.filter(|kernel| !has_column(kernel)).map(str::to_owned))
        .collect();
    assert!(
        missing.is_empty(),
        "not in docs/kernels.md, which `cargo xtask vm --bless` writes anew: {missing:?}"
    );
}
