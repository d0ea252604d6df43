//! How the agent is: what the event loop last said of itself, for `/healthz`, `/readyz` and `/status`.

mod absent;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use self::absent::{Absent, in_part, in_part_lines};
use crate::enrich::{self, runtimes};
use crate::kernel::{Kernel, capabilities};
use crate::serve::Health;
use crate::state::Connections;
use crate::translate;

/// A loop that has not come by for this long hangs: ten times the longest pass ever measured, and more.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Written by the event loop, read by the HTTP server.
#[derive(Debug)]
pub struct Board {
    started: Instant,
    /// Milliseconds after `started` at which the loop last came by.
    beat: AtomicU64,
    ready: AtomicBool,
    /// Held for a replacement or a copy, never over an await.
    status: Mutex<Value>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            beat: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            status: Mutex::new(Value::Null),
        }
    }
}

impl Board {
    /// The loop is alive.
    pub fn beat(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(millis, Ordering::Relaxed);
    }

    /// The loop has looked at everything.
    pub fn publish(&self, look: &Look<'_>) {
        let status = look.status(self.started.elapsed());
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        self.beat();
    }

    /// Series can be asked for, after the first look at everything.
    pub fn open(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

/// What the loop shows of itself after a look at everything.
pub struct Look<'a> {
    /// The kernel half.
    pub kernel: &'a Kernel,
    /// The ways to learn where connections lead.
    pub translation: &'a [translate::Status],
    /// Connections, flows, listeners.
    pub connections: &'a Connections,
    /// Containers, services, executables.
    pub workloads: &'a enrich::Stats,
    /// Container runtimes.
    pub runtimes: &'a [runtimes::Status],
    /// What else names workloads.
    pub names: Value,
    /// Series that have no source here.
    pub absent: &'a Absent,
    /// The push path.
    pub push: Value,
}

impl Look<'_> {
    /// `/status` of an agent that has run for so long.
    fn status(&self, uptime: Duration) -> Value {
        let Self { kernel, connections, workloads, .. } = self;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": uptime.as_secs(),
            "probes": probes(kernel, self.translation),
            "program_statistics": kernel.stats_verdict(),
            "programs": kernel.programs(),
            "maps": kernel.maps(),
            "missing_capabilities": missing_capabilities(),
            "connections": {
                "open": connections.len(),
                "flows": connections.flows().len(),
                "listeners": connections.listeners().len(),
            },
            "workloads": {
                "containers": workloads.containers,
                "services": workloads.services,
                "executables": workloads.executables,
                "unnamed": workloads.inspections_pending,
            },
            "names": self.names,
            "runtimes": self.runtimes.iter().map(runtime).collect::<Vec<_>>(),
            "absent": self.absent.json(),
            "absent_in_part": in_part(),
            "push": self.push,
        })
    }
}

/// The verdicts on everything that may work or not.
pub fn probes(kernel: &Kernel, translation: &[translate::Status]) -> Vec<Value> {
    let kernel = kernel.features().iter().map(|feature| json!(feature));
    kernel.chain(translation.iter().map(|feature| json!(feature))).collect()
}

/// Names and purposes of the capabilities that the process lacks.
pub fn missing_capabilities() -> Vec<Value> {
    capabilities::missing()
        .iter()
        .map(|missing| json!({ "name": missing.name, "why": missing.why }))
        .collect()
}

fn runtime(status: &runtimes::Status) -> Value {
    let mut value = json!({ "runtime": status.runtime.name(), "state": status.state.name() });
    if let Some(endpoint) = &status.endpoint {
        value["endpoint"] = json!(endpoint.display().to_string());
    }
    if let Some(reason) = status.state.reason() {
        value["reason"] = json!(reason);
    }
    value
}

impl Health for Board {
    fn alive(&self) -> Result<(), String> {
        let silent =
            self.started.elapsed().saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)));
        if silent < HANGS_AFTER {
            Ok(())
        } else {
            Err(format!("the event loop is silent for {} s", silent.as_secs()))
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err("the first pass is not finished, or the cloud has yet to tell its zone".to_owned())
        }
    }

    fn status(&self) -> Value {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
