//! What a metric is. The metrics themselves stand in `catalog`, one file per family.

/// The type of a metric, as the exposition formats name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the agent lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets with a sum and a count.
    Histogram,
}

/// What a metric describes; decides its common labels and its place in the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The machine.
    Node,
    /// One container, service or host executable: carries `container_id` and `app_id`.
    Container,
    /// The agent itself.
    Agent,
}

/// One metric of the catalogue.
#[derive(Debug)]
pub struct Metric {
    /// Full name, with unit and `_total` where they apply.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// What it describes.
    pub scope: Scope,
    /// One line for `# HELP` and the reference.
    pub help: &'static str,
    /// Names of its own labels, beyond those of its scope.
    pub labels: &'static [&'static str],
    /// Where the value comes from: kernel hook, file, or API. For the reference.
    pub source: &'static str,
}
