//! The agent about itself: every self-metric that is not the HTTP server's or the push loop's is counted and shown
//! here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use procfs::process::Process;
use sonde_abi::DecodeError;

use crate::enrich;
use crate::kernel::{Kernel, RingFill, Verdict};
use crate::model::{Buckets, Histogram, UnixMillis};
use crate::registry::catalog::agent as catalog;
use crate::registry::{Labels, SnapshotBuilder};
use crate::state::Connections;

/// A queue between two tasks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFill {
    /// Messages that wait.
    pub depth: usize,
    /// Messages that fit.
    pub capacity: usize,
}

impl QueueFill {
    /// Adds the series under the queue's name.
    pub fn collect(self, name: &'static str, builder: &mut SnapshotBuilder) {
        let (none, own) = (Labels::empty(), Labels::new([("queue", name)]));
        builder.number(&catalog::QUEUE_DEPTH, &none, &own, self.depth as f64);
        builder.number(&catalog::QUEUE_CAPACITY, &none, &own, self.capacity as f64);
    }
}

/// Counters of the event loop.
#[derive(Debug)]
pub struct Telemetry {
    started: UnixMillis,
    events: BTreeMap<&'static str, u64>,
    decode_errors: BTreeMap<&'static str, u64>,
    pass_failures: BTreeMap<&'static str, u64>,
    snapshots: Histogram,
    tracked: Option<usize>,
}

impl Telemetry {
    /// Nothing counted yet.
    pub fn new(started: UnixMillis) -> Self {
        let decode_errors = DecodeError::ALL.iter().map(|error| (error.as_str(), 0)).collect();
        Self {
            started,
            events: BTreeMap::new(),
            decode_errors,
            pass_failures: BTreeMap::from([("tasks", 0), ("files", 0), ("unfiled", 0)]),
            snapshots: Histogram::new(Buckets::AGENT),
            tracked: None,
        }
    }

    /// An event was taken from the ring.
    pub fn count_event(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    /// A record was not understood. Said once per reason: it means that the two halves do not fit.
    pub fn count_decode_error(&mut self, error: DecodeError) {
        let count = self.decode_errors.entry(error.as_str()).or_default();
        *count += 1;
        if *count == 1 {
            tracing::error!(code = error.as_str(), "a record from the kernel could not be decoded");
        }
    }

    /// A pass over an iterator or over /proc failed. Said once per pass that had worked before.
    pub fn count_pass_failure(&mut self, pass: &'static str, error: &io::Error) {
        let count = self.pass_failures.entry(pass).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!(pass, %error, "failed to list what is there now; further failures are only counted");
        }
    }

    /// A snapshot was made.
    pub fn snapshot_duration(&mut self, duration: Duration) {
        self.snapshots.observe(duration.as_secs_f64());
    }

    /// The sweep walked over the kernel half's connections.
    pub fn tracked_connections(&mut self, tracked: usize) {
        self.tracked = Some(tracked);
    }

    /// Adds what the event loop counted, what of the node could not be read, and what the process costs.
    pub fn collect(&self, node_failures: u64, builder: &mut SnapshotBuilder) {
        let none = Labels::empty();
        let version = env!("CARGO_PKG_VERSION");
        let build = Labels::new([("version", version), ("arch", std::env::consts::ARCH)]);
        builder.number(&catalog::BUILD_INFO, &none, &build, 1.0);
        builder.number(&catalog::NODE_AGENT_INFO, &none, &Labels::new([("version", version)]), 1.0);
        builder.number(&catalog::START_TIME_SECONDS, &none, &none, self.started.0 as f64 / 1e3);
        for (event, count) in &self.events {
            builder.number(&catalog::EVENTS_TOTAL, &none, &Labels::new([("event", *event)]), *count as f64);
        }
        for (code, count) in &self.decode_errors {
            builder.number(
                &catalog::DECODE_ERRORS_TOTAL,
                &none,
                &Labels::new([("code", *code)]),
                *count as f64,
            );
        }
        for (pass, count) in self.pass_failures.iter().chain([(&"node", &node_failures)]) {
            builder.number(
                &catalog::PASS_FAILURES_TOTAL,
                &none,
                &Labels::new([("pass", *pass)]),
                *count as f64,
            );
        }
        builder.histogram(
            &catalog::SNAPSHOT_DURATION_SECONDS,
            &none,
            &none,
            &Arc::new(self.snapshots.clone()),
        );
        own_process(builder);
    }

    /// Adds what the kernel knows of our programs and maps.
    pub fn collect_kernel(&self, kernel: &mut Kernel, builder: &mut SnapshotBuilder) {
        let none = Labels::empty();
        verdicts(kernel, builder);
        programs(kernel, builder);
        for lost in kernel.losses() {
            let (program, reason) = lost.loss.labels();
            let own = Labels::new([("program", program), ("reason", reason)]);
            builder.number(&catalog::PROGRAM_DROPS_TOTAL, &none, &own, lost.count as f64);
        }
        for map in kernel.maps() {
            let own = Labels::new([("map", map.name.as_str())]);
            builder.number(&catalog::MAP_MAX_ENTRIES, &none, &own, map.max_entries.into());
            if let Some(bytes) = map.bytes {
                builder.number(&catalog::MAP_BYTES, &none, &own, bytes as f64);
            }
        }
        if let Some(tracked) = self.tracked {
            let own = Labels::new([("map", "CONN_BY_SOCK")]);
            builder.number(&catalog::MAP_ENTRIES, &none, &own, tracked as f64);
        }
        for RingFill { ring, fill, capacity } in kernel.take_ring_fills() {
            let own = Labels::new([("ring", ring)]);
            builder.number(&catalog::RING_FILL_BYTES, &none, &own, fill as f64);
            builder.number(&catalog::RING_CAPACITY_BYTES, &none, &own, capacity as f64);
        }
    }

    /// Adds the sizes and losses of the tables.
    pub fn collect_tables(
        &self,
        tables: &Connections,
        workloads: &enrich::Stats,
        builder: &mut SnapshotBuilder,
    ) {
        let none = Labels::empty();
        let stats = tables.stats();
        let numbers = [
            (&catalog::CONNECTIONS, tables.len() as f64),
            (&catalog::FLOWS, tables.flows().len() as f64),
            (&catalog::LISTENERS, tables.listeners().len() as f64),
            (&catalog::CONNECTIONS_UNOWNED_TOTAL, stats.unowned as f64),
        ];
        for (metric, value) in numbers {
            builder.number(metric, &none, &none, value);
        }
        let folded = [
            ("destinations", stats.flows_folded),
            ("failures", stats.failures_folded),
            ("listeners", stats.backlogs_folded),
            ("round_trips", stats.round_trips_folded),
        ];
        for (table, folded) in folded {
            for (cap, count) in [("container", folded.workload), ("node", folded.node)] {
                let own = Labels::new([("table", table), ("cap", cap)]);
                builder.number(&catalog::SERIES_FOLDED_TOTAL, &none, &own, count as f64);
            }
        }
        let incomplete = [
            ("start_lost", stats.starts_lost),
            ("end_lost", stats.ends_lost),
            ("table_full", stats.refused),
            ("listeners_full", stats.listeners_refused),
        ];
        for (reason, count) in incomplete {
            let own = Labels::new([("reason", reason)]);
            builder.number(&catalog::CONNECTIONS_INCOMPLETE_TOTAL, &none, &own, count as f64);
        }
        let volumes = workloads.volumes_refused;
        for (cap, count) in [("container", volumes.container), ("node", volumes.node)] {
            let own = Labels::new([("table", "volumes"), ("cap", cap)]);
            builder.number(&catalog::SERIES_FOLDED_TOTAL, &none, &own, count as f64);
        }
        table_of_workloads(workloads, builder);
    }
}

fn table_of_workloads(stats: &enrich::Stats, builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    let kinds =
        [("container", stats.containers), ("service", stats.services), ("executable", stats.executables)];
    for (kind, count) in kinds {
        builder.number(&catalog::WORKLOADS, &none, &Labels::new([("kind", kind)]), count as f64);
    }
    let losses = [
        ("workload_table_full", stats.overflowed),
        ("workload_evicted", stats.evicted),
        ("process_table_full", stats.processes_overflowed),
        ("executable_unknown", stats.unknown_executables),
        ("hint_queue_full", stats.hints_lost.0),
        ("hint_hung", stats.hints_lost.1),
        ("cgroup_unknown", stats.tree.unknown),
        ("cgroup_table_full", stats.tree.overflowed),
        ("cgroup_unreadable", stats.tree.unreadable),
    ];
    for (reason, count) in losses {
        let own = Labels::new([("reason", reason)]);
        builder.number(&catalog::NAMING_LOSSES_TOTAL, &none, &own, count as f64);
    }
    builder.number(&catalog::VOLUMES_HUNG_TOTAL, &none, &none, stats.volumes_hung as f64);
    builder.number(&catalog::CGROUP_SCANS_TOTAL, &none, &none, stats.tree.scans as f64);
}

fn verdicts(kernel: &Kernel, builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    for feature in kernel.features() {
        for verdict in Verdict::NAMES {
            let own = Labels::new([("probe", feature.name.as_str()), ("verdict", verdict)]);
            let value = f64::from(u8::from(feature.verdict.name() == verdict));
            builder.number(&catalog::PROBE_STATE, &none, &own, value);
        }
    }
}

fn programs(kernel: &Kernel, builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    let measured = kernel.stats_verdict().is_ok();
    for program in kernel.programs() {
        let own = Labels::new([("program", program.name.as_str())]);
        // Without statistics the kernel shows zeros, and "not measured" is never zero.
        if measured {
            builder.number(&catalog::PROGRAM_RUNS_TOTAL, &none, &own, program.runs as f64);
            let seconds = program.run_time.as_secs_f64();
            builder.number(&catalog::PROGRAM_RUN_SECONDS_TOTAL, &none, &own, seconds);
        }
        if let Some(instructions) = program.verified_instructions {
            builder.number(&catalog::PROGRAM_VERIFIED_INSTRUCTIONS, &none, &own, instructions.into());
        }
    }
}

/// What cannot be read is left out.
fn own_process(builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    let Ok(process) = Process::myself() else { return };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        for (mode, time) in [("user", stat.utime), ("system", stat.stime)] {
            let own = Labels::new([("mode", mode)]);
            builder.number(&catalog::CPU_SECONDS_TOTAL, &none, &own, time as f64 / ticks);
        }
    }
    if let Ok(status) = process.status() {
        for (metric, kib) in [
            (&catalog::RESIDENT_MEMORY_BYTES, status.vmrss),
            (&catalog::RESIDENT_MEMORY_PEAK_BYTES, status.vmhwm),
        ] {
            if let Some(kib) = kib {
                builder.number(metric, &none, &none, kib as f64 * 1024.0);
            }
        }
    }
    if let Ok(count) = process.fd_count() {
        builder.number(&catalog::OPEN_FDS, &none, &none, count as f64);
    }
}
