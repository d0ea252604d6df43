//! What names workloads besides the container runtimes: systemd, and Kubernetes when it is asked for.
//!
//! Each lives in a task of its own; the event loop only exchanges messages with them and never waits.

use serde_json::{Value, json};

use super::kubernetes::{self, Watcher};
use super::systemd::{self, Asker};
use super::{Stats, Workloads};
use crate::model::BootNanos;
use crate::registry::{Labels, SnapshotBuilder, catalog};

/// All of them.
#[derive(Debug)]
pub struct NameSources {
    /// systemd.
    pub systemd: Asker,
    /// Kubernetes, if it is asked for.
    pub kubernetes: Option<Watcher>,
}

impl NameSources {
    /// Takes the answers there are, and puts the questions there are.
    pub fn exchange(&mut self, workloads: &mut Workloads, now: BootNanos) {
        if let Some(pods) = self.kubernetes.as_mut().and_then(Watcher::changed) {
            workloads.handle_pods(pods);
        }
        while let Some((unit, answer)) = self.systemd.try_answer() {
            workloads.handle_unit(&unit, answer, now);
        }
        while let Some(unit) = workloads.next_unit() {
            if let Err(unit) = self.systemd.ask(unit) {
                workloads.put_back_unit(&unit);
                break;
            }
        }
    }

    /// Whether everyone who is asked has answered, or is known not to.
    pub fn is_settled(&self) -> bool {
        let kubernetes = self.kubernetes.as_ref().map(Watcher::status);
        self.systemd.status() != systemd::Status::Unused
            && !matches!(kubernetes, Some(kubernetes::Status::Waiting))
    }

    /// What `/status` shows.
    pub fn status(&self) -> Value {
        let kubernetes = self.kubernetes.as_ref().map(Watcher::status);
        json!({
            "systemd": systemd_status(self.systemd.status()),
            "kubernetes": kubernetes_status(kubernetes),
        })
    }

    /// Adds the series of the queues and of the answers.
    pub fn collect(&self, stats: &Stats, builder: &mut SnapshotBuilder) {
        self.systemd.fill().collect("units", builder);
        let none = Labels::empty();
        for (result, count) in [("ok", stats.units_answered), ("failed", stats.units_failed)] {
            let own = Labels::new([("runtime", "systemd"), ("result", result)]);
            builder.number(&catalog::agent::INSPECTIONS_TOTAL, &none, &own, count as f64);
        }
    }
}

fn systemd_status(status: systemd::Status) -> Value {
    match status {
        systemd::Status::Unused => json!({ "state": "unused" }),
        systemd::Status::Connected(socket) => json!({ "state": "connected", "socket": socket }),
        systemd::Status::Absent(reason) => json!({ "state": "absent", "reason": reason }),
        systemd::Status::Unreachable(reason) => json!({ "state": "unreachable", "reason": reason }),
    }
}

fn kubernetes_status(status: Option<kubernetes::Status>) -> Value {
    match status {
        None => json!({ "state": "unused" }),
        Some(kubernetes::Status::Waiting) => json!({ "state": "waiting" }),
        Some(kubernetes::Status::Connected(pods)) => json!({ "state": "connected", "pods": pods }),
        Some(kubernetes::Status::Failed(reason)) => json!({ "state": "unreachable", "reason": reason }),
    }
}
