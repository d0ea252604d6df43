//! The reference page of all metrics.

use std::fmt::Write;

use super::catalog::{SECTIONS, Section};
use super::{Kind, Metric, Scope};

/// What stands before the tables.
const INTRODUCTION: &str = "\
# Metrics of sonde-agent

Written from the code by `cargo xtask bless`; a test keeps it up to date.

Every series carries `machine_id` and `system_uuid`; series of containers also `container_id` and `app_id` (left out when
it is not known), and in a cloud `az` and `region`, when both are known. Pushed series carry `instance` and `job=\"sonde-agent\"` besides, and there is `up`, always 1. A series
that is absent was not measured: absent never means zero. A pushed series that is no longer there is marked as stale once;
the end of the agent marks nothing, since its next start goes on with the same series.

What the agent counts itself begins at 0 when the agent starts; what it reads from the kernel or from a control group
goes on from there.
";

/// Renders `docs/metrics.md`.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in SECTIONS {
        describe(&mut page, section);
    }
    page
}

fn describe(page: &mut String, section: &Section) {
    let mut line = |text: String| writeln!(page, "{text}").expect("writing to a string cannot fail");
    line(format!("\n## {}\n", section.title));
    line("| metric | type | labels | meaning | source |".to_owned());
    line("|---|---|---|---|---|".to_owned());
    for metric in section.metrics {
        let (name, kind, labels) = (metric.name, kind_of(metric.kind), labels_of(metric));
        line(format!("| `{name}` | {kind} | {labels} | {} | {} |", cell(metric.help), cell(metric.source)));
    }
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

fn labels_of(metric: &Metric) -> String {
    let owner: &[&str] = if metric.scope == Scope::Container { &["container_id", "app_id"] } else { &[] };
    let labels: Vec<String> = owner.iter().chain(metric.labels).map(|label| format!("`{label}`")).collect();
    labels.join(", ")
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
