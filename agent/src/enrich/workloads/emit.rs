//! The series of the workloads themselves: what they are, how often they restarted, what they use.

mod disks;
mod usage;

use std::net::IpAddr;

use super::Workloads;
use super::record::Record;
use crate::enrich::metadata::PublishedPort;
use crate::enrich::netns;
use crate::health::Absent;
use crate::model::{BootNanos, HostPid, WorkloadIx};
use crate::node::interfaces;
use crate::registry::catalog::{container, tcp};
use crate::registry::{Labels, Metric, SnapshotBuilder};
use crate::resources::{self, Measure};
pub(super) use disks::Disks;
pub(super) use usage::OomKills;
use usage::Sources;

const SECOND: u64 = 1_000_000_000;
/// Mounts and addresses change rarely; they are read again after this long.
const REFRESH: u64 = 60 * SECOND;

const SPACE: [&Metric; 3] = [
    &container::RESOURCES_DISK_SIZE_BYTES,
    &container::RESOURCES_DISK_USED_BYTES,
    &container::RESOURCES_DISK_RESERVED_BYTES,
];
const NO_RUN_DELAY: &str =
    "no thread has waited for a CPU yet, or the kernel does not measure it (CONFIG_SCHED_INFO)";

const NO_DISK_DELAY: &str = "threads have no delay accounting: kernel.task_delayacct is 0 since their start, the kernel \
                             lacks CONFIG_TASK_DELAY_ACCT, or iter/task does not run";

/// Addresses of the host's network namespace, with the time they were read.
#[derive(Debug, Default)]
pub(super) struct HostAddresses {
    read_at: Option<BootNanos>,
    addresses: Vec<IpAddr>,
}

impl Workloads {
    /// Adds the series of all workloads that are shown. What the kernel half measured comes from `measure`.
    pub fn collect(&mut self, builder: &mut SnapshotBuilder, measure: &dyn Measure, now: BootNanos) {
        self.now = self.now.max(now);
        let mut sources = Sources::new(&self.settings.proc_root, measure.disk_source(), now);
        let mut shown = self.table.indices();
        shown.retain(|ix| self.is_exported(*ix, now));
        // Answers may come while the rest is read.
        self.ask_for_space(now);
        for ix in &shown {
            self.collect_meta(builder, *ix);
            self.collect_published(builder, *ix, now);
            self.collect_resources(builder, *ix, &mut sources, &measure.measured(*ix));
        }
        self.take_space(now);
        for ix in shown {
            self.collect_space(builder, ix);
        }
    }

    /// Says which metrics of workloads have no source on this machine.
    pub fn absent(&mut self, absent: &mut Absent) {
        if !self.membership.counts_run_delay() {
            absent.push(&container::RESOURCES_CPU_DELAY_SECONDS_TOTAL, NO_RUN_DELAY);
        }
        if !self.membership.counts_disk_delay() {
            absent.push(&container::RESOURCES_DISK_DELAY_SECONDS_TOTAL, NO_DISK_DELAY);
        }
        if let Some(reason) = self.why_no_space() {
            absent.push_all(&SPACE, &reason);
        }
        let (explained_at, known) = &mut self.explained;
        if explained_at.is_none_or(|at| self.now.since(at) >= REFRESH) {
            *known = Absent::default();
            resources::explain(&self.mounts, &self.settings.proc_root, known);
            *explained_at = Some(self.now);
        }
        absent.extend(known);
    }

    fn why_no_space(&self) -> Option<String> {
        if let Some(resources::Question { mount_point, .. }) = self.surveyor.hanging().next() {
            return Some(format!("statfs of {mount_point} in a container does not return"));
        }
        let reason = self.space_refused.as_ref()?;
        Some(format!("what containers have mounted is out of reach: {reason}; it takes CAP_SYS_PTRACE"))
    }

    fn collect_meta(&self, builder: &mut SnapshotBuilder, ix: WorkloadIx) {
        let Some(record) = self.table.get(ix) else { return };
        let (owner, none) = (&record.labels, Labels::empty());
        if let Some(info) = &record.info {
            builder.number(&container::INFO, owner, info, 1.0);
        }
        if let Some(pod) = &record.pod {
            builder.number(&container::KUBERNETES_INFO, owner, pod, 1.0);
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
        if known.read_at.is_none_or(|at| now.since(at) >= REFRESH) {
            known.addresses =
                netns::reachable_addresses(&self.settings.proc_root, HostPid(1), interfaces::placed)
                    .unwrap_or_default();
            known.read_at = Some(now);
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
