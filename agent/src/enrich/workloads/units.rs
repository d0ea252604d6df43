//! Services and what systemd tells of them.

use super::Workloads;
use crate::enrich::systemd::{UnitError, UnitProperties, UnitRef};
use crate::model::{BootNanos, WorkloadIx};

impl Workloads {
    /// The next service to ask systemd about. Every one that is taken must come back by
    /// [`handle_unit`](Self::handle_unit), or by [`put_back_unit`](Self::put_back_unit) if it could not be asked.
    pub fn next_unit(&mut self) -> Option<UnitRef> {
        loop {
            let workload = self.units.pop(self.now)?;
            match self.table.get(workload).and_then(|record| record.unit_name()) {
                Some(unit) => return Some(UnitRef { workload, unit }),
                None => self.units.finished(workload),
            }
        }
    }

    /// A service could not be asked about now, which says nothing about it.
    pub fn put_back_unit(&mut self, unit: &UnitRef) {
        self.units.put_back(unit.workload, self.now);
    }

    /// Systemd's answer: it becomes labels, or the question is asked again later.
    pub fn handle_unit(&mut self, unit: &UnitRef, answer: Result<UnitProperties, UnitError>, now: BootNanos) {
        self.now = self.now.max(now);
        match answer {
            Ok(properties) => {
                self.stats.units_answered += 1;
                self.units.finished(unit.workload);
                if let Some(record) = self.table.get_mut(unit.workload) {
                    record.describe_unit(properties);
                }
            }
            Err(error) => {
                self.stats.units_failed += 1;
                self.units.failed(unit.workload, &error, self.now);
            }
        }
    }

    /// Asks about a service that nothing is known of yet.
    pub(super) fn want_unit(&mut self, ix: WorkloadIx) {
        if let Some(record) = self.table.get(ix)
            && record.unit.is_none()
            && record.unit_name().is_some()
        {
            self.units.push(ix, self.now);
        }
    }

    /// A service that started anew may have been changed before.
    pub(super) fn want_unit_again(&mut self, ix: WorkloadIx) {
        if self.table.get(ix).is_some_and(|record| record.unit_name().is_some()) {
            self.units.push(ix, self.now);
        }
    }
}
