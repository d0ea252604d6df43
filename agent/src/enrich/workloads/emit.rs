//! The series of the workloads themselves: what they are, how often they restarted, what they use.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use super::Workloads;
use super::record::Record;
use crate::enrich::metadata::PublishedPort;
use crate::enrich::netns;
use crate::model::{BootNanos, HostPid, WorkloadIx};
use crate::registry::catalog::{container, tcp};
use crate::registry::{Labels, Metric, SnapshotBuilder};
use crate::resources::{self, DiskIo, DiskNames, Resources, Stall};

const SECOND: u64 = 1_000_000_000;
/// Mounts and addresses change rarely; they are read again after this long.
const REFRESH: u64 = 60 * SECOND;
/// How long after its last process a cgroup's files are still looked at: one may have started since the last pass.
const READ_AFTER: u64 = 60 * SECOND;

static SOME: LazyLock<Arc<Labels>> = LazyLock::new(|| Labels::new([("kind", "some")]));
static FULL: LazyLock<Arc<Labels>> = LazyLock::new(|| Labels::new([("kind", "full")]));

/// Addresses of the host's network namespace, with the time they were read.
#[derive(Debug, Default)]
pub(super) struct HostAddresses {
    read_at: Option<BootNanos>,
    addresses: Vec<IpAddr>,
}

impl Workloads {
    /// Adds the series of all workloads that are shown.
    pub fn collect(&mut self, builder: &mut SnapshotBuilder, now: BootNanos) {
        self.now = self.now.max(now);
        let names = DiskNames::read(&self.settings.proc_root);
        for ix in self.table.indices() {
            if self.is_exported(ix, now) {
                self.collect_meta(builder, ix);
                self.collect_published(builder, ix, now);
                self.collect_resources(builder, ix, &names, now);
            }
        }
    }

    fn collect_meta(&self, builder: &mut SnapshotBuilder, ix: WorkloadIx) {
        let Some(record) = self.table.get(ix) else { return };
        let (owner, none) = (&record.labels, Labels::empty());
        if let Some(info) = &record.info {
            builder.number(&container::INFO, owner, info, 1.0);
        }
        if record.key.restarts() {
            builder.number(&container::RESTARTS_TOTAL, owner, &none, record.restarts as f64);
        }
        if self.membership.counts_run_delay() {
            let seconds = record.run_delay_ns as f64 / 1e9;
            builder.number(&container::RESOURCES_CPU_DELAY_SECONDS_TOTAL, owner, &none, seconds);
        }
    }

    /// Addresses of the host that lead to a container, as listeners of the container behind a proxy.
    fn collect_published(&mut self, builder: &mut SnapshotBuilder, ix: WorkloadIx, now: BootNanos) {
        let published =
            |record: &Record| record.metadata.as_ref().map_or(0, |metadata| metadata.published.len());
        if !self.table.get(ix).is_some_and(|record| record.process.is_some() && published(record) > 0) {
            return;
        }
        self.refresh_host_addresses(now);
        let Some(record) = self.table.get(ix) else { return };
        let ports = record.metadata.iter().flat_map(|metadata| &metadata.published);
        for address in ports.flat_map(|port| expand(*port, &self.host_addresses.addresses)) {
            let own = Labels::new([("listen_addr", address.as_str()), ("proxy", "dockerd")]);
            builder.number(&tcp::LISTEN_INFO, &record.labels, &own, 1.0);
        }
    }

    fn refresh_host_addresses(&mut self, now: BootNanos) {
        let known = &mut self.host_addresses;
        if known.read_at.is_none_or(|at| now.0.saturating_sub(at.0) >= REFRESH) {
            known.addresses =
                netns::local_addresses(&self.settings.proc_root, HostPid(1)).unwrap_or_default();
            known.read_at = Some(now);
        }
    }

    fn collect_resources(
        &mut self,
        builder: &mut SnapshotBuilder,
        ix: WorkloadIx,
        names: &DiskNames,
        now: BootNanos,
    ) {
        let Some(record) = self.table.get_mut(ix) else { return };
        let has_cgroup = record.paths.v1.is_some() || record.paths.v2.is_some();
        let may_live = record.process.is_some() || now.0.saturating_sub(record.last_seen.0) < READ_AFTER;
        if !has_cgroup || !may_live {
            return;
        }
        let read = resources::read(&self.mounts, &record.paths);
        emit_resources(builder, &record.labels, &read);
        if read.disks.is_empty() {
            return;
        }
        if record.disks.1.is_empty() || now.0.saturating_sub(record.disks.0.0) >= REFRESH {
            let mountinfo =
                record.process.map(|pid| self.settings.proc_root.join(format!("{}/mountinfo", pid.0)));
            let mountinfo = mountinfo.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
            let mut labels = disk_labels(&read.disks, &mountinfo, names);
            // A process that is gone shows no mounts: what it showed before stays.
            if mountinfo.is_empty() {
                labels.extend(std::mem::take(&mut record.disks.1));
            }
            record.disks = (now, labels);
        }
        for disk in &read.disks {
            if let Some(own) = record.disks.1.get(&disk.device) {
                emit_disk(builder, &record.labels, own, disk);
            }
        }
    }
}

/// One series per device: what a device did for a container is told once, however often it is mounted there. A device
/// without a name has no series; one that the container does not see mounted, as below an overlay, has no mount point.
fn disk_labels(
    disks: &[DiskIo],
    mountinfo: &str,
    names: &DiskNames,
) -> HashMap<resources::DeviceId, Arc<Labels>> {
    let mounts = resources::mount_points(mountinfo, names);
    let labels = disks.iter().filter_map(|disk| {
        let mut pairs = vec![("device", names.name(disk.device)?)];
        if let Some(mount) = mounts.get(&disk.device) {
            pairs.extend([("mount_point", &*mount.path), ("volume", &*mount.volume)]);
        }
        Some((disk.device, Labels::new(pairs)))
    });
    labels.collect()
}

fn emit_resources(builder: &mut SnapshotBuilder, owner: &Arc<Labels>, read: &Resources) {
    let none = Labels::empty();
    let mut emit = |metric: &'static Metric, value: Option<f64>| {
        if let Some(value) = value {
            builder.number(metric, owner, &none, value);
        }
    };
    emit(&container::RESOURCES_CPU_USAGE_SECONDS_TOTAL, read.cpu.usage_seconds);
    emit(&container::RESOURCES_CPU_THROTTLED_SECONDS_TOTAL, read.cpu.throttled_seconds);
    emit(&container::RESOURCES_CPU_LIMIT_CORES, read.cpu.limit_cores);
    let bytes = |value: Option<u64>| value.map(|bytes| bytes as f64);
    emit(&container::RESOURCES_MEMORY_RSS_BYTES, bytes(read.memory.rss_bytes));
    emit(&container::RESOURCES_MEMORY_CACHE_BYTES, bytes(read.memory.cache_bytes));
    emit(&container::RESOURCES_MEMORY_LIMIT_BYTES, bytes(read.memory.limit_bytes));
    let pressure = &read.pressure;
    emit_stall(builder, &container::RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL, owner, pressure.cpu);
    emit_stall(builder, &container::RESOURCES_MEMORY_PRESSURE_WAITING_SECONDS_TOTAL, owner, pressure.memory);
    emit_stall(builder, &container::RESOURCES_IO_PRESSURE_WAITING_SECONDS_TOTAL, owner, pressure.io);
}

fn emit_stall(builder: &mut SnapshotBuilder, metric: &'static Metric, owner: &Arc<Labels>, stall: Stall) {
    for (own, value) in [(&*SOME, stall.some_seconds), (&*FULL, stall.full_seconds)] {
        if let Some(value) = value {
            builder.number(metric, owner, own, value);
        }
    }
}

fn emit_disk(builder: &mut SnapshotBuilder, owner: &Arc<Labels>, own: &Arc<Labels>, disk: &DiskIo) {
    let values = [
        (&container::RESOURCES_DISK_READS_TOTAL, disk.reads),
        (&container::RESOURCES_DISK_WRITES_TOTAL, disk.writes),
        (&container::RESOURCES_DISK_READ_BYTES_TOTAL, disk.read_bytes),
        (&container::RESOURCES_DISK_WRITTEN_BYTES_TOTAL, disk.written_bytes),
    ];
    for (metric, value) in values {
        if let Some(value) = value {
            builder.number(metric, owner, own, value as f64);
        }
    }
}

/// A port on all addresses of a family is one on each of them.
fn expand(port: PublishedPort, host: &[IpAddr]) -> Vec<String> {
    let show = |address: IpAddr| std::net::SocketAddr::new(address, port.port).to_string();
    if !port.address.is_unspecified() {
        return vec![show(port.address)];
    }
    host.iter()
        .filter(|address| address.is_ipv4() == port.address.is_ipv4())
        .map(|address| show(*address))
        .collect()
}
