//! One workload.

use std::sync::Arc;

use super::emit::{Disks, OomKills};
use super::files::Files;
use super::starts::Starts;
use super::table::MAX_ALIASES;
use super::together::Together;
use super::{Owner, Runtime};
use crate::enrich::cgroup_tree::Cgroup;
use crate::enrich::metadata::{ContainerMetadata, ContainerRef};
use crate::enrich::systemd::{self, UnitProperties};
use crate::enrich::{naming, runtimes};
use crate::model::{BootNanos, HostPid, UnixMillis, UptimeNanos, WorkloadIx};
use crate::registry::Labels;
use crate::resources::CgroupPaths;

/// What makes a workload the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// With the user in whose slice it is, who may give it any id: never the same as the container that has the id.
    Container(Runtime, Box<str>, Option<u32>),
    Service(Box<str>),
    Group(Box<str>),
    Executable(Box<str>),
}

impl Key {
    /// The workload of a cgroup's owner; none if executables are to tell.
    pub(super) fn of(cgroup: &Cgroup) -> Option<Self> {
        Some(match &cgroup.owner {
            Owner::Container { runtime, id } => Self::Container(*runtime, id.clone(), cgroup.user),
            Owner::Service(id) => Self::Service(id.clone()),
            Owner::Group(id) => Self::Group(id.clone()),
            Owner::Unmanaged => return None,
        })
    }

    /// Whether a cgroup's owner is this workload. Two hierarchies may call the runtime of one container differently.
    pub(super) fn is_of(&self, cgroup: &Cgroup) -> bool {
        match (self, &cgroup.owner) {
            (Self::Container(_, id, user), Owner::Container { id: other, .. }) => {
                id == other && *user == cgroup.user
            }
            (Self::Service(id), Owner::Service(other)) | (Self::Group(id), Owner::Group(other)) => {
                id == other
            }
            _ => false,
        }
    }

    /// What is to be asked about a container whose name a runtime may know.
    pub(super) fn question(&self, workload: WorkloadIx) -> Option<ContainerRef> {
        match self {
            Self::Container(runtime, id, user) if runtimes::order(*runtime).first().is_some() => {
                Some(ContainerRef { workload, runtime: *runtime, id: (&**id).into(), user: *user })
            }
            _ => None,
        }
    }

    /// Whether its processes live and die together, so that a later first start is a restart.
    pub(super) fn restarts(&self) -> bool {
        !matches!(self, Self::Executable(_) | Self::Group(_))
    }

    fn container_id(&self) -> String {
        match self {
            Self::Container(runtime, id, user) => naming::of_user(*user, naming::anonymous(*runtime, id)),
            Self::Service(id) | Self::Group(id) => id.to_string(),
            Self::Executable(name) => format!("/host/{name}"),
        }
    }
}

/// Whether the labels will change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// A runtime, or a process, has been asked.
    Pending,
    /// They stay.
    Final,
}

/// What only a process of a container can tell about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// Nothing is missing.
    Needless,
    /// So many processes may still be looked at.
    Wanted(u8),
    /// The container's id, which its cgroup does not show.
    Told(Arc<str>),
}

impl Hint {
    /// A sandbox has a handful of processes, and the one that knows is among the first.
    const LOOKS: u8 = 8;

    fn of(key: &Key) -> Self {
        match key {
            Key::Container(Runtime::Sandbox | Runtime::Nomad, _, None) => Self::Wanted(Self::LOOKS),
            _ => Self::Needless,
        }
    }
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) hint: Hint,
    pub(super) container_id: Box<str>,
    pub(super) labels: Arc<Labels>,
    pub(super) naming: Naming,
    /// Whether the lists of allowed and denied names let it be shown; decided when it is named.
    pub(super) is_allowed: bool,
    pub(super) metadata: Option<ContainerMetadata>,
    /// What systemd tells of a service.
    pub(super) unit: Option<UnitProperties>,
    /// Labels of `container_kubernetes_info`, once its pod is known.
    pub(super) pod: Option<Arc<Labels>>,
    /// Labels of `container_info`, once there is something to say.
    pub(super) info: Option<Arc<Labels>>,
    pub(super) paths: CgroupPaths,
    /// Cgroups of the containers that it is besides.
    pub(super) together: Together,
    /// Containers that turned out to have the same name, and may still live: the latest ones.
    pub(super) aliases: Vec<Key>,
    /// The index it was given first: of two containers the younger one has the higher number.
    pub(super) number: WorkloadIx,
    /// When the agent first heard of it.
    pub(super) created: BootNanos,
    /// Start of its oldest process in the last pass that found any.
    pub(super) started: Option<UptimeNanos>,
    /// The same on the agent's clock, which does not go on while the machine is suspended: for ages only, as it moves.
    pub(super) started_at: Option<BootNanos>,
    /// When it last did anything.
    pub(super) last_seen: BootNanos,
    /// One of its processes in the last pass.
    pub(super) process: Option<HostPid>,
    pub(super) restarts: u64,
    /// Starts that its cgroups told.
    pub(super) starts: Starts,
    pub(super) run_delay_ns: u64,
    /// Its open files in the last pass over them.
    pub(super) files: Option<Files>,
    /// Threads in the last pass over them.
    pub(super) threads: Option<u64>,
    /// Whether a pass found more than one thread.
    pub(super) has_threads: bool,
    /// Kills that its cgroup's file told.
    pub(super) oom_kills: OomKills,
    /// Labels of its disks' series.
    pub(super) disks: Disks,
}

impl Record {
    pub(super) fn new(key: Key, now: BootNanos, is_asked: bool) -> Self {
        let container_id = key.container_id();
        let hint = Hint::of(&key);
        let may_be_named = is_asked || hint != Hint::Needless;
        Self {
            labels: labels(&container_id),
            container_id: container_id.into(),
            naming: if may_be_named { Naming::Pending } else { Naming::Final },
            is_allowed: true,
            hint,
            key,
            metadata: None,
            unit: None,
            pod: None,
            info: None,
            paths: CgroupPaths::default(),
            together: Together::default(),
            aliases: Vec::new(),
            number: WorkloadIx(0),
            created: now,
            started: None,
            started_at: None,
            last_seen: now,
            process: None,
            restarts: 0,
            starts: Starts::default(),
            run_delay_ns: 0,
            files: None,
            threads: None,
            has_threads: false,
            oom_kills: OomKills::default(),
            disks: Disks::default(),
        }
    }

    pub(super) fn touch(&mut self, now: BootNanos) {
        self.last_seen = self.last_seen.max(now);
    }

    /// Whether it is the container with an id: its own, or the one a process told.
    pub(super) fn has_id(&self, id: &str) -> bool {
        let is_told = matches!(&self.hint, Hint::Told(told) if **told == *id);
        is_told || matches!(&self.key, Key::Container(_, own, _) if **own == *id)
    }

    /// Goes on counting where an older one of the same name stopped, or will stop: while that one lives, its processes are
    /// the oldest, and the pass after their end counts the restart.
    pub(super) fn succeed(&mut self, older: &mut Self) {
        self.together.join(older, MAX_ALIASES);
        self.restarts += older.restarts;
        if older.process.is_some() {
            self.started = older.started;
            self.starts.forget_unseen();
        } else {
            self.restarts += u64::from(self.key.restarts());
        }
        self.run_delay_ns += older.run_delay_ns;
        self.oom_kills.succeed(older.oom_kills);
        self.created = self.created.min(older.created);
        self.has_threads |= older.has_threads;
        self.touch(older.last_seen);
    }

    /// The earlier of its first sight and its oldest process.
    pub(super) fn born(&self) -> BootNanos {
        self.started_at.map_or(self.created, |started| started.min(self.created))
    }

    /// Takes over what a runtime tells.
    pub(super) fn describe(&mut self, metadata: ContainerMetadata, now: Option<UnixMillis>) {
        if let Key::Container(runtime, _, user) = &self.key
            && let Some(name) = naming::named(*runtime, &metadata, now)
            && let container_id = naming::of_user(*user, name)
            && *container_id != *self.container_id
        {
            self.labels = labels(&container_id);
            self.container_id = container_id.into();
        }
        self.metadata = Some(metadata);
        self.disks.read_again();
        self.naming = Naming::Final;
        self.refresh_info();
    }

    /// Takes over what systemd tells.
    pub(super) fn describe_unit(&mut self, unit: UnitProperties) {
        self.unit = Some(unit);
        self.refresh_info();
    }

    /// Whether Coroot's agent would leave it out by default.
    pub(super) fn is_system_service(&self) -> bool {
        let is_service = matches!(self.key, Key::Service(_) | Key::Group(_));
        is_service && systemd::is_system_service(&self.container_id, self.unit.as_ref())
    }

    /// Whether it does nothing but hold a pod's namespaces: one process that has one thread and waits. The sandboxes that
    /// run the pod's containers have many threads, or no other cgroup than the pod's.
    pub(super) fn is_pause(&self) -> bool {
        let is_pod = |key: &Key| matches!(key, Key::Container(Runtime::Sandbox, ..));
        let runs_pod = self.has_threads || is_pod(&self.key) || self.aliases.iter().any(is_pod);
        !runs_pod && self.metadata.as_ref().is_some_and(naming::is_sandbox)
    }

    /// The service's name as systemd writes it: its own cgroup, where dashes are escaped.
    pub(super) fn unit_name(&self) -> Option<Arc<str>> {
        let Key::Service(_) = self.key else { return None };
        let path = self.paths.v2.as_deref().or(self.paths.v1.as_deref())?;
        path.rsplit('/').next().filter(|unit| unit.ends_with(".service")).map(Arc::from)
    }

    fn refresh_info(&mut self) {
        let image = self.metadata.as_ref().map_or("", |metadata| &metadata.image);
        let (kind, triggered_by) =
            self.unit.as_ref().map_or(("", ""), |unit| (&*unit.kind, &*unit.triggered_by));
        let labels = [("image", image), ("systemd_type", kind), ("systemd_triggered_by", triggered_by)];
        let is_known = labels.iter().any(|(_, value)| !value.is_empty());
        self.info = is_known.then(|| Labels::new(labels));
    }
}

pub(super) fn labels(container_id: &str) -> Arc<Labels> {
    let app_id = naming::app_id(container_id);
    Labels::new([("container_id", container_id), ("app_id", app_id.as_str())])
}
