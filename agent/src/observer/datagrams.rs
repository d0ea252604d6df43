//! UDP: reading what the kernel half counted, and its series.

use super::{clock, core::Parts};
use crate::enrich::{Workloads, process};
use crate::kernel::FeatureId;
use crate::model::{BootNanos, DatagramOwner, HostPid, UdpFailure, UdpKind, UdpSocket, WorkloadIx};
use crate::pace::Pace;
use crate::probes;
use crate::registry::catalog::{agent, udp as catalog};
use crate::registry::{Labels, SnapshotBuilder};
use crate::state::{Datagrams, Traffic};
use crate::telemetry::Telemetry;

/// Announced processes after which the kernel half's counters are read before anyone asks: a quarter of what it can
/// hold, so that a storm of short-lived senders finds room.
const READ_AFTER: usize = sonde_abi::budget::UDP_OWNERS_MAX / 4;

/// Takes an event.
pub fn handle(table: &mut Datagrams, workloads: &mut Workloads, socket: &UdpSocket, now: BootNanos) {
    let claim = workloads.claim(&socket.origin, now);
    let workload = claim.workload;
    match socket.kind {
        UdpKind::Owner(owner) => table.announce(owner, workload),
        UdpKind::Open => table.found(socket.inode, socket.drops, claim, now),
        UdpKind::Closed => table.closed(socket.inode, socket.drops, workload),
    }
}

/// The name of an event.
pub fn event_name(kind: UdpKind) -> &'static str {
    match kind {
        UdpKind::Owner(_) => "udp_owner",
        UdpKind::Open => "udp_open",
        UdpKind::Closed => "udp_closed",
    }
}

/// Whether the kernel half's counters must be read before its table is full.
pub fn is_pressing(table: &Datagrams) -> bool {
    table.announced() >= READ_AFTER
}

/// Reads the kernel half's counters.
pub fn read(parts: &mut Parts, telemetry: &mut Telemetry, pace: &mut Pace) {
    let Parts { kernel, datagrams: table, workloads, proc_root, .. } = parts;
    if !kernel.has(FeatureId::UdpTraffic) {
        return;
    }
    let now = clock::boot();
    table.begin_reading(now);
    kernel.datagrams(|key, value| {
        match probes::udp::decode_entry(key, value) {
            Ok((owner, origin, counted)) => {
                table.count(owner, counted, || workloads.resolve_owner(&origin, now));
            }
            Err(error) => telemetry.count_decode_error(error),
        }
        pace.step();
    });
    let is_alive = |owner: &DatagramOwner| {
        pace.breathe();
        process::is_alive(proc_root, HostPid(owner.tgid), owner.started_ns)
    };
    for owner in table.finish_reading(is_alive) {
        kernel.forget_datagrams(&probes::udp::key(owner));
    }
}

/// Adds the series of workloads.
pub fn emit(table: &Datagrams, workloads: &Workloads, now: BootNanos, builder: &mut SnapshotBuilder) {
    for (workload, traffic) in table.iter() {
        if workloads.is_exported(workload, now) {
            emit_one(workloads, workload, traffic, builder);
        }
    }
}

fn emit_one(workloads: &Workloads, workload: WorkloadIx, traffic: &Traffic, builder: &mut SnapshotBuilder) {
    let (owner, none) = (workloads.labels(workload), Labels::empty());
    if traffic.is_counted {
        let counted = &traffic.counted;
        let numbers = [
            (&catalog::BYTES_SENT_TOTAL, counted.sent_bytes),
            (&catalog::BYTES_RECEIVED_TOTAL, counted.received_bytes),
            (&catalog::MESSAGES_SENT_TOTAL, counted.sent),
            (&catalog::MESSAGES_RECEIVED_TOTAL, counted.received),
        ];
        for (metric, number) in numbers {
            builder.number(metric, owner, &none, number as f64);
        }
    }
    if traffic.has_errors {
        for (failure, count) in UdpFailure::ALL.iter().zip(traffic.counted.errors) {
            let own = Labels::new([("reason", failure.as_str())]);
            builder.number(&catalog::ERRORS_TOTAL, owner, &own, count as f64);
        }
    }
    if let Some(dropped) = traffic.dropped {
        builder.number(&catalog::RECEIVE_DROPS_TOTAL, owner, &none, dropped as f64);
    }
}

/// Adds what the table says of itself.
pub fn emit_stats(table: &Datagrams, builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    let stats = table.stats();
    builder.number(&agent::UDP_UNOWNED_TOTAL, &none, &none, stats.unowned as f64);
    builder.number(&agent::UDP_SOCKETS_REFUSED_TOTAL, &none, &none, stats.sockets_refused as f64);
    let map = Labels::new([("map", "UDP_BY_OWNER")]);
    builder.number(&agent::MAP_ENTRIES, &none, &map, table.len() as f64);
}
