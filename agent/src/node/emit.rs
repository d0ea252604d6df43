//! The series of the machine.

use std::sync::Arc;

use super::{Disk, Interface, Node, NodeIdentity};
use crate::registry::catalog::node;
use crate::registry::{Labels, SnapshotBuilder};

/// Adds the series of the machine. What was not measured has none.
pub fn emit(builder: &mut SnapshotBuilder, identity: &NodeIdentity, read: &Node) {
    let none = Labels::empty();
    let info = Labels::new([("hostname", &*identity.hostname), ("kernel_version", &*identity.kernel)]);
    builder.number(&node::INFO, &none, &info, 1.0);
    if let Some(seconds) = read.uptime_seconds {
        builder.number(&node::UPTIME_SECONDS, &none, &none, seconds);
    }
    emit_cpu_and_memory(builder, read, &none);
    for disk in read.disks.iter().flatten() {
        emit_disk(builder, disk, &none);
    }
    for interface in read.interfaces.iter().flatten() {
        emit_interface(builder, interface, &none);
    }
}

fn emit_cpu_and_memory(builder: &mut SnapshotBuilder, read: &Node, none: &Arc<Labels>) {
    if let Some(cpu) = &read.cpu {
        for (mode, seconds) in &cpu.seconds {
            let own = Labels::new([("mode", *mode)]);
            builder.number(&node::RESOURCES_CPU_USAGE_SECONDS_TOTAL, none, &own, *seconds);
        }
        builder.number(&node::RESOURCES_CPU_LOGICAL_CORES, none, none, cpu.logical_cores as f64);
    }
    let Some(memory) = &read.memory else { return };
    let values = [
        (&node::RESOURCES_MEMORY_TOTAL_BYTES, Some(memory.total)),
        (&node::RESOURCES_MEMORY_FREE_BYTES, Some(memory.free)),
        (&node::RESOURCES_MEMORY_AVAILABLE_BYTES, memory.available),
        (&node::RESOURCES_MEMORY_CACHED_BYTES, Some(memory.cached)),
    ];
    for (metric, value) in values {
        if let Some(value) = value {
            builder.number(metric, none, none, value as f64);
        }
    }
}

fn emit_disk(builder: &mut SnapshotBuilder, disk: &Disk, none: &Arc<Labels>) {
    let own = Labels::new([("device", &*disk.device)]);
    for (metric, value) in [
        (&node::RESOURCES_DISK_READS_TOTAL, disk.reads as f64),
        (&node::RESOURCES_DISK_WRITES_TOTAL, disk.writes as f64),
        (&node::RESOURCES_DISK_READ_BYTES_TOTAL, disk.read_bytes as f64),
        (&node::RESOURCES_DISK_WRITTEN_BYTES_TOTAL, disk.written_bytes as f64),
        (&node::RESOURCES_DISK_READ_TIME_SECONDS_TOTAL, disk.read_seconds),
        (&node::RESOURCES_DISK_WRITE_TIME_SECONDS_TOTAL, disk.write_seconds),
        (&node::RESOURCES_DISK_IO_TIME_SECONDS_TOTAL, disk.io_seconds),
    ] {
        builder.number(metric, none, &own, value);
    }
}

fn emit_interface(builder: &mut SnapshotBuilder, interface: &Interface, none: &Arc<Labels>) {
    let own = Labels::new([("interface", &*interface.name)]);
    for (metric, value) in [
        (&node::NET_RECEIVED_BYTES_TOTAL, interface.received_bytes),
        (&node::NET_TRANSMITTED_BYTES_TOTAL, interface.sent_bytes),
        (&node::NET_RECEIVED_PACKETS_TOTAL, interface.received_packets),
        (&node::NET_TRANSMITTED_PACKETS_TOTAL, interface.sent_packets),
    ] {
        builder.number(metric, none, &own, value as f64);
    }
    if let Some(is_up) = interface.is_up {
        builder.number(&node::NET_INTERFACE_UP, none, &own, f64::from(u8::from(is_up)));
    }
    for address in &interface.addresses {
        let own = Labels::new([("interface", interface.name.to_string()), ("ip", address.to_string())]);
        builder.number(&node::NET_INTERFACE_IP, none, &own, 1.0);
    }
}
