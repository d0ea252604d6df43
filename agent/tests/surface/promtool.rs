//! Prometheus' own linter over every metric of the catalogue.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sonde_agent::model::UnixMillis;
use sonde_agent::model::{Buckets, Histogram};
use sonde_agent::registry::{Format, Kind, Labels, Snapshot, SnapshotBuilder, catalog};

use crate::exposition::encode;
use crate::skip;

/// Lines of promtool that are accepted, because compatibility fixes the name they are about.
const ALLOWED: &str = include_str!("../../../tests/promtool-allowed.txt");

fn one_series_of_everything() -> Snapshot {
    let mut builder = SnapshotBuilder::default();
    let histogram = Arc::new(Histogram::new(Buckets::AGENT));
    for metric in catalog::all() {
        let own = Labels::new(metric.labels.iter().map(|name| (*name, "x")));
        match metric.kind {
            Kind::Histogram => builder.histogram(metric, &Labels::empty(), &own, &histogram),
            _ => builder.number(metric, &Labels::empty(), &own, 1.0),
        }
    }
    builder.build(UnixMillis(0), Labels::new([("machine_id", "m")]))
}

#[test]
fn promtool_finds_nothing_but_what_compatibility_fixes() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Ok(promtool) => promtool,
        Err(_) => return skip::record("promtool is not installed"),
    };
    let encoded = encode(one_series_of_everything(), Format::Text);
    promtool.stdin.take().unwrap().write_all(&encoded).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let found: BTreeSet<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let allowed: BTreeSet<&str> =
        ALLOWED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(found, allowed, "left: what promtool says; right: what tests/promtool-allowed.txt allows");
}
