//! How many questions had an answer, by kind of runtime. Bounded by the number of kinds.

use super::order::Kind;
use crate::registry::catalog::agent::INSPECTIONS_TOTAL;
use crate::registry::{Labels, SnapshotBuilder};

/// Of one kind of runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// Containers that it described.
    pub(super) ok: u64,
    /// Questions put to it first that nobody could answer, those about containers that it does not have included.
    pub(super) failed: u64,
}

/// Of all kinds.
#[derive(Debug, Default)]
pub(super) struct Counts([Answered; Kind::ALL.len()]);

impl Counts {
    /// An answer came: from `kind`, or, where nobody knew, to a question that went to `kind` first.
    pub(super) fn count(&mut self, kind: Kind, is_ok: bool) {
        let counts = &mut self.0[kind as usize];
        *(if is_ok { &mut counts.ok } else { &mut counts.failed }) += 1;
    }

    /// What was counted, by kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Kind, Answered)> {
        Kind::ALL.into_iter().zip(self.0)
    }

    /// Adds the series.
    pub(super) fn collect(&self, builder: &mut SnapshotBuilder) {
        let none = Labels::empty();
        for (kind, answered) in self.iter() {
            for (result, count) in [("ok", answered.ok), ("failed", answered.failed)] {
                let own = Labels::new([("runtime", kind.name()), ("result", result)]);
                builder.number(&INSPECTIONS_TOTAL, &none, &own, count as f64);
            }
        }
    }
}
