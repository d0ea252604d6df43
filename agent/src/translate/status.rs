//! What the translator says of itself.

use serde::Serialize;

use super::chain::Found;
use crate::kernel::Verdict;
use crate::registry::catalog::agent as catalog;
use crate::registry::{Labels, SnapshotBuilder};

/// Counters of the translator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that lead to another address than they were connected to.
    pub translated: u64,
    /// Connections that lead where they were connected to.
    pub direct: u64,
    /// Connections that no table knows.
    pub untracked: u64,
    /// Connections about which a table did not answer.
    pub failed: u64,
    /// Connections that were not asked for: no table, or too many at once.
    pub skipped: u64,
    /// Network namespaces entered.
    pub entered: u64,
    /// Network namespaces that could not be entered.
    pub enter_failed: u64,
    /// Network namespaces whose tables are open now.
    pub open: usize,
}

impl Stats {
    pub(super) fn count(&mut self, found: &[Found]) {
        for found in found {
            *match found {
                Found::Translated(_) => &mut self.translated,
                Found::Direct => &mut self.direct,
                Found::Untracked => &mut self.untracked,
                Found::Failed => &mut self.failed,
                Found::Skipped => &mut self.skipped,
            } += 1;
        }
    }

    /// Adds the series.
    pub fn collect(&self, builder: &mut SnapshotBuilder) {
        let none = Labels::empty();
        let results = [
            ("translated", self.translated),
            ("direct", self.direct),
            ("untracked", self.untracked),
            ("failed", self.failed),
            ("skipped", self.skipped),
        ];
        for (result, count) in results {
            builder.number(
                &catalog::TRANSLATIONS_TOTAL,
                &none,
                &Labels::new([("result", result)]),
                count as f64,
            );
        }
        for (result, count) in [("ok", self.entered), ("failed", self.enter_failed)] {
            let own = Labels::new([("result", result)]);
            builder.number(&catalog::NAMESPACES_ENTERED_TOTAL, &none, &own, count as f64);
        }
        builder.number(&catalog::NAMESPACES_HELD, &none, &none, self.open as f64);
    }
}

/// A feature and its verdict, in the form of the kernel half's.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// `probe/feature`.
    pub name: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What is missing without it; only when it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<&'static str>,
}

/// Adds the verdicts.
pub(super) fn collect(statuses: &[Status], builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    for status in statuses {
        for verdict in Verdict::NAMES {
            let own = Labels::new([("probe", status.name), ("verdict", verdict)]);
            let value = f64::from(u8::from(status.verdict.name() == verdict));
            builder.number(&catalog::PROBE_STATE, &none, &own, value);
        }
    }
}

/// The features with their verdicts: the host's table, and those of other namespaces. `None` when they are turned off.
pub(super) fn of(verdicts: Option<(Verdict, Verdict)>) -> Vec<Status> {
    let (host, namespaces) = verdicts.unwrap_or((Verdict::Disabled, Verdict::Disabled));
    let features = [
        ("net/translation", host, "connections to services show the service's address only"),
        ("net/namespaces", namespaces, "what is translated inside a container is not seen"),
    ];
    let status = |(name, verdict, without): (_, Verdict, _)| {
        let without = (!verdict.is_ok()).then_some(without);
        Status { name, verdict, without }
    };
    features.into_iter().map(status).collect()
}
