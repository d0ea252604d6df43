//! The table of workloads: every container, service and host executable, by one index each.
//!
//! Every process is in exactly one workload, whichever hierarchy its container shows in. The table belongs to the
//! event loop; it reads small files of `/proc` and of cgroups, and waits for nobody. It is bounded: above the cap what
//! is new shares one workload, [`Workloads::OVERFLOW`], and is counted. An index is never used twice.

mod emit;
mod exits;
mod files;
mod hints;
mod membership;
mod pods;
mod record;
mod resolve;
mod starts;
mod stats;
mod table;
mod together;
mod units;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use regex::Regex;

use super::cgroup_path::{Owner, Runtime};
use super::cgroup_tree::{CgroupTree, Hierarchy};
use super::inspections::Inspections;
use super::kubernetes::Pods;
use super::metadata::{ContainerMetadata, ContainerRef, InspectError};
use super::process;
use super::systemd::Questions;
use crate::health::Absent;
use crate::model::{BootNanos, CgroupId, HostPid, Origin, Task, UnixMillis, WorkloadIx};
use crate::registry::Labels;
use crate::resources::{self, CgroupMounts, Layout, Surveyor};
pub use files::OpenFilesPass;
use membership::Membership;
use record::{Key, Naming};
pub use stats::Stats;
pub use table::Merged;
use table::{Filter, Table};

/// What the table needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's procfs.
    pub proc_root: PathBuf,
    /// The host's cgroups.
    pub cgroup_root: PathBuf,
    /// Shown are only workloads whose `container_id` matches one of these, if there are any.
    pub allow: Vec<Regex>,
    /// Hidden are workloads whose `container_id` matches one of these, allowed or not.
    pub deny: Vec<Regex>,
    /// Younger workloads are hidden, though counted.
    pub min_age: Duration,
    /// Services of the system itself are hidden, though counted.
    pub hide_system_services: bool,
    /// How long a workload is kept after its last process went.
    pub keep_gone: Duration,
    /// Workloads known at once.
    pub max_workloads: usize,
}

impl Settings {
    /// Workloads known at once, unless told otherwise: a node of Kubernetes runs at most a few hundred containers, the
    /// rest is room for those of the last ten minutes.
    pub const MAX_WORKLOADS: usize = 4096;

    /// How long a workload is kept, unless told otherwise: as long as Coroot's agent keeps a container.
    pub const KEEP_GONE: Duration = Duration::from_secs(600);

    /// Settings that show everything.
    pub fn new(proc_root: impl Into<PathBuf>, cgroup_root: impl Into<PathBuf>) -> Self {
        Self {
            proc_root: proc_root.into(),
            cgroup_root: cgroup_root.into(),
            allow: Vec::new(),
            deny: Vec::new(),
            min_age: Duration::ZERO,
            hide_system_services: false,
            keep_gone: Self::KEEP_GONE,
            max_workloads: Self::MAX_WORKLOADS,
        }
    }
}

/// Every container, service and host executable of the machine.
#[derive(Debug)]
pub struct Workloads {
    settings: Settings,
    mounts: CgroupMounts,
    tree: CgroupTree,
    table: Table,
    membership: Membership,
    happened: exits::Happened,
    inspections: Inspections,
    units: Questions,
    /// The latest list of this node's pods; empty unless it is asked for.
    pods: Arc<Pods>,
    /// Containers and services by their v1 and v2 cgroups. What is retired is skipped, since an index is never used twice.
    by_cgroups: HashMap<(CgroupId, CgroupId), WorkloadIx>,
    /// Executables by process; the name tells when a process has become another one.
    executables: HashMap<HostPid, (Box<str>, WorkloadIx)>,
    host_addresses: emit::HostAddresses,
    hints: hints::Hints,
    surveyor: Surveyor,
    /// Why the size of a volume could not be told, the last time.
    space_refused: Option<String>,
    /// Metrics that the cgroups here do not tell, with the time they were last asked.
    explained: (Option<BootNanos>, Absent),
    /// Whether anything tells of cgroups that are made and removed.
    has_cgroup_events: bool,
    /// The latest time anyone told.
    now: BootNanos,
    /// The wall clock, which tells the runs of cronjobs; unknown until somebody tells.
    unix: Option<UnixMillis>,
    stats: Stats,
}

/// Processes whose executable is remembered, and processes of one pass: twice the default `pid_max`.
const MAX_PROCESSES: usize = 65_536;
/// For so long a container without a name is hidden, so that its first series already have the name. It is counted
/// meanwhile.
const NAME_GRACE: u64 = 3_000_000_000;
/// `comm` is cut to this length by the kernel.
const COMM_LEN: usize = 15;

impl Workloads {
    /// The workload of all that did not fit in the table.
    pub const OVERFLOW: WorkloadIx = WorkloadIx(0);

    /// An empty table. Finds the cgroup mounts; what is missing is reported once and the rest goes on.
    pub fn new(settings: Settings) -> Self {
        let mounts = CgroupMounts::discover(&settings.proc_root, &settings.cgroup_root);
        report(&mounts);
        let filter = Filter { allow: settings.allow.clone(), deny: settings.deny.clone() };
        Self {
            tree: CgroupTree::new(&mounts),
            table: Table::new(settings.max_workloads, settings.keep_gone, filter),
            membership: Membership::default(),
            happened: exits::Happened::default(),
            inspections: Inspections::default(),
            units: Questions::default(),
            pods: Arc::default(),
            by_cgroups: HashMap::new(),
            executables: HashMap::new(),
            host_addresses: emit::HostAddresses::default(),
            hints: hints::Hints::new(&settings.proc_root),
            surveyor: resources::surveyor(&settings.proc_root),
            space_refused: None,
            explained: (None, Absent::default()),
            has_cgroup_events: false,
            now: BootNanos(0),
            unix: None,
            stats: Stats::default(),
            mounts,
            settings,
        }
    }

    /// Which cgroup hierarchies there are.
    pub fn layout(&self) -> Layout {
        self.mounts.layout()
    }

    /// Tells the wall clock.
    pub fn set_unix_time(&mut self, now: UnixMillis) {
        self.unix = Some(now);
    }

    /// A cgroup was made; `path` is relative to the root of its hierarchy. Of the v1 hierarchies only that of the memory
    /// controller is meant: each numbers its cgroups for itself.
    pub fn handle_cgroup_created(&mut self, hierarchy: Hierarchy, id: CgroupId, path: &str) {
        self.has_cgroup_events = true;
        self.tree.insert(hierarchy, id, path);
        self.count_starts();
    }

    /// A cgroup was removed.
    pub fn handle_cgroup_removed(&mut self, hierarchy: Hierarchy, id: CgroupId) {
        self.has_cgroup_events = true;
        self.tree.remove(hierarchy, id, self.now);
    }

    /// Lists all processes from `/proc`, where the kernel's iterator cannot be used.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn walk_processes(&self) -> io::Result<Vec<Task>> {
        let id = |hierarchy, path: Option<&str>| {
            path.and_then(|path| self.tree.id_at(hierarchy, path)).unwrap_or(CgroupId(0))
        };
        process::walk(&self.settings.proc_root, |lines| {
            (id(Hierarchy::V1, lines.v1.as_deref()), id(Hierarchy::V2, lines.v2.as_deref()))
        })
    }

    /// The next container to ask its runtime about. Every one that is taken must come back by
    /// [`handle_inspected`](Self::handle_inspected), or by [`put_back_inspection`](Self::put_back_inspection) if it could
    /// not be asked.
    pub fn next_inspection(&mut self) -> Option<ContainerRef> {
        self.inspections.pop(self.now)
    }

    /// A container could not be asked about now: it is the last of those that are ready.
    pub fn put_back_inspection(&mut self, container: ContainerRef) {
        self.inspections.put_back(container);
    }

    /// The runtime's answer: relabels the container, or asks again later. A container that turns out to have another
    /// one's name is the same workload: the tables move their rows, and every series goes on where it was.
    pub fn handle_inspected(
        &mut self,
        container: ContainerRef,
        answer: Result<ContainerMetadata, InspectError>,
        now: BootNanos,
    ) -> Option<Merged> {
        self.now = self.now.max(now);
        let metadata = match answer {
            Ok(metadata) => metadata,
            Err(error) => {
                if self.has_better_id(&container) {
                    return None;
                }
                self.inspections.failed(container, &error, self.now);
                return None;
            }
        };
        self.inspections.succeeded(container.workload);
        let merged = self.table.name(container.workload, &container.id, metadata, self.unix);
        self.describe_pod(merged.map_or(container.workload, |merged| merged.into));
        let merged = merged?;
        self.inspections.forget(merged.from);
        self.happened.merge(merged);
        for ix in self.by_cgroups.values_mut().filter(|ix| **ix == merged.from) {
            *ix = merged.into;
        }
        Some(merged)
    }

    /// The longest-lived process of the container or service that an origin belongs to, as far as both are known.
    pub fn process_of(&self, origin: &Origin) -> Option<HostPid> {
        self.table.get(*self.by_cgroups.get(&self.cgroups(origin))?)?.process
    }

    /// `container_id` and `app_id`.
    pub fn labels(&self, ix: WorkloadIx) -> &Arc<Labels> {
        &self.table.get(ix).unwrap_or(self.table.overflow()).labels
    }

    /// Whether the series of a workload are shown: allowed, not denied, old enough, named if it will be, and more than a
    /// pod's pause container.
    pub fn is_exported(&self, ix: WorkloadIx, now: BootNanos) -> bool {
        if ix == Self::OVERFLOW {
            return self.stats.overflowed > 0;
        }
        let Some(record) = self.table.get(ix) else { return false };
        let age = now.since(record.born());
        let named = match record.naming {
            Naming::Final => true,
            Naming::Pending => now.since(record.created) >= NAME_GRACE,
        };
        let is_hidden = record.is_pause() || self.settings.hide_system_services && record.is_system_service();
        named && !is_hidden && record.is_allowed && u128::from(age) >= self.settings.min_age.as_nanos()
    }

    /// Forgets the workloads whose last process went long enough ago, and above seven eighths of the cap the ones gone
    /// longest. Tables drop their rows.
    pub fn retired(&mut self, now: BootNanos) -> Vec<WorkloadIx> {
        self.now = self.now.max(now);
        if !self.has_cgroup_events {
            self.tree.refresh(self.now);
            self.count_starts();
        }
        self.tree.forget_removed(self.now);
        let retired = self.table.retire(self.now, &mut self.stats.evicted);
        self.inspections.forget_all(&retired);
        self.units.forget_all(&retired);
        // What the tree has forgotten is asked for anew should it turn up: a service has a new cgroup at every start.
        let is_known = |hierarchy, id: CgroupId| id.0 == 0 || self.tree.get(hierarchy, id).is_some();
        self.by_cgroups.retain(|(v1, v2), ix| {
            is_known(Hierarchy::V1, *v1) && is_known(Hierarchy::V2, *v2) && self.table.get(*ix).is_some()
        });
        retired
    }

    /// What the table holds, did and lost.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        for record in self.table.records() {
            match record.key {
                Key::Container(..) => stats.containers += 1,
                Key::Service(_) | Key::Group(_) => stats.services += 1,
                Key::Executable(_) => stats.executables += 1,
            }
        }
        stats.inspections_pending = self.inspections.pending();
        stats.units_pending = self.units.pending();
        stats.processes_overflowed += self.membership.overflowed();
        stats.hints_lost = (self.hints.refused, self.hints.hung());
        stats.volumes_hung = self.surveyor.hung();
        stats.tree = self.tree.stats();
        stats
    }
}

/// Says what is missing, what it costs, and why.
fn report(mounts: &CgroupMounts) {
    let reason = mounts.failure();
    let message = match mounts.layout() {
        Layout::Absent => "no cgroup hierarchy was found: only executables are told apart",
        Layout::V1 => {
            "no cgroup2 hierarchy was found: containers are told by their v1 cgroups, and pressure is not measured"
        }
        Layout::V2 | Layout::Hybrid if reason.is_some() => {
            "only a part of the cgroup2 hierarchy is seen: what lives outside is told by executable"
        }
        Layout::V2 | Layout::Hybrid => return,
    };
    tracing::warn!(reason = reason.unwrap_or("not mounted"), "{message}");
}

#[cfg(test)]
mod tests;
