//! The series of the machine.

use std::sync::Arc;

use super::{Disk, Filesystem, Interface, Node, NodeIdentity};
use crate::registry::catalog::{agent, node};
use crate::registry::{Labels, SnapshotBuilder};

/// Adds the series of the machine. What was not measured has none.
pub fn emit(builder: &mut SnapshotBuilder, identity: &NodeIdentity, read: &Node) {
    let none = Labels::empty();
    let info = Labels::new([("hostname", &*identity.hostname), ("kernel_version", &*identity.kernel)]);
    builder.number(&node::INFO, &none, &info, 1.0);
    if let Some(cloud) = &read.cloud {
        builder.number(&node::CLOUD_INFO, &none, &cloud.labels(), 1.0);
    }
    crate::gpu::emit(builder, &read.gpus);
    for number in &read.numbers {
        number.emit(builder);
    }
    for disk in read.disks.iter().flatten() {
        emit_disk(builder, disk, &none);
    }
    for interface in read.interfaces.iter().flatten() {
        emit_interface(builder, interface, &none);
    }
    for filesystem in &read.filesystems {
        emit_filesystem(builder, filesystem, &none);
    }
    for (kind, reason, count) in &read.hidden {
        let own = Labels::new([("kind", *kind), ("reason", *reason)]);
        builder.number(&agent::NODE_HIDDEN, &none, &own, *count as f64);
    }
}

fn emit_filesystem(builder: &mut SnapshotBuilder, filesystem: &Filesystem, none: &Arc<Labels>) {
    let own = Labels::new([
        ("mount_point", &*filesystem.mount_point),
        ("device", &*filesystem.device),
        ("fstype", &*filesystem.fstype),
    ]);
    let read_only = f64::from(u8::from(filesystem.read_only));
    builder.number(&node::RESOURCES_FILESYSTEM_READ_ONLY, none, &own, read_only);
    let Some(usage) = filesystem.usage else { return };
    let inodes = |count: u64| (usage.inodes > 0).then_some(count);
    for (metric, value) in [
        (&node::RESOURCES_FILESYSTEM_SIZE_BYTES, Some(usage.size)),
        (&node::RESOURCES_FILESYSTEM_FREE_BYTES, Some(usage.free)),
        (&node::RESOURCES_FILESYSTEM_AVAILABLE_BYTES, Some(usage.available)),
        (&node::RESOURCES_FILESYSTEM_INODES, inodes(usage.inodes)),
        (&node::RESOURCES_FILESYSTEM_INODES_FREE, inodes(usage.inodes_free)),
    ] {
        if let Some(value) = value {
            builder.number(metric, none, &own, value as f64);
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
        (&node::NET_RECEIVED_ERRORS_TOTAL, interface.receive_errors),
        (&node::NET_TRANSMITTED_ERRORS_TOTAL, interface.send_errors),
        (&node::NET_RECEIVED_DROPS_TOTAL, interface.receive_drops),
        (&node::NET_TRANSMITTED_DROPS_TOTAL, interface.send_drops),
    ] {
        builder.number(metric, none, &own, value as f64);
    }
    if let Some(speed) = interface.speed_bytes {
        builder.number(&node::NET_INTERFACE_SPEED_BYTES, none, &own, speed as f64);
    }
    if let Some(is_up) = interface.is_up {
        builder.number(&node::NET_INTERFACE_UP, none, &own, f64::from(u8::from(is_up)));
    }
    for address in &interface.addresses {
        let own = Labels::new([("interface", interface.name.to_string()), ("ip", address.to_string())]);
        builder.number(&node::NET_INTERFACE_IP, none, &own, 1.0);
    }
}
