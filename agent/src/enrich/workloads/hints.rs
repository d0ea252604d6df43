//! What only its processes tell about a container: the id behind a pod without cgroups of its containers (gVisor), and
//! the names of a task of Nomad.
//!
//! A few processes of such a container are looked at, in bounded reads of `/proc`, when it is new and at the next full
//! passes. Arguments and environment are in a process' own memory, and the kernel waits for the lock of that memory: a
//! process that is stuck with it holds up whoever reads. Hence they are read [aside](crate::aside) of the event loop, and
//! only where nothing else can name the container: pods without containers, and tasks of Nomad's own executors, and
//! never what a user's slice makes look like them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Workloads;
use super::record::{Hint, Key, Naming};
use crate::aside::{Aside, Question};
use crate::enrich::cgroup_path::Runtime;
use crate::enrich::metadata::{ContainerMetadata, ContainerRef};
use crate::enrich::{keep, naming, process};
use crate::model::{BootNanos, HostPid, WorkloadIx};

/// Looks that may wait for those under way: more than a node starts pods and tasks between two of them.
const MAX_LOOKS: usize = 256;

/// Looks at processes.
#[derive(Debug)]
pub(super) struct Hints {
    aside: Aside<Look>,
    waiting: Vec<Look>,
    /// Looks that did not fit; they are tried again at the next pass.
    pub(super) refused: u64,
}

/// A process that may know something.
#[derive(Clone, Debug)]
struct Look {
    workload: WorkloadIx,
    pid: HostPid,
    runtime: Runtime,
}

/// What a process told.
#[derive(Debug)]
enum Told {
    /// The id by which the runtime knows the sandbox.
    Sandbox(Arc<str>),
    /// The variables that name a task.
    Task(BTreeMap<String, String>),
}

impl Question for Look {
    type Answer = Option<Told>;

    fn is_about_the_same(&self, other: &Self) -> bool {
        self.pid == other.pid
    }
}

impl Hints {
    /// Looks at the processes below `proc_root`.
    pub(super) fn new(proc_root: impl Into<PathBuf>) -> Self {
        let proc_root = proc_root.into();
        let look = move |look: &Look| match look.runtime {
            Runtime::Nomad => {
                let variables = process::variables(&proc_root, look.pid);
                Some(Told::Task(keep::environment(variables.iter().map(String::as_str))))
            }
            _ => process::sandbox_id(&proc_root, look.pid).map(Told::Sandbox),
        };
        Self { aside: Aside::new("hints", look), waiting: Vec::new(), refused: 0 }
    }

    /// Looks that a process did not let come to an end in time.
    pub(super) fn hung(&self) -> u64 {
        self.aside.hung()
    }

    /// Whether there is room for another look.
    fn has_room(&mut self) -> bool {
        let has_room = self.waiting.len() < MAX_LOOKS;
        self.refused += u64::from(!has_room);
        has_room
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.aside.is_idle() && self.waiting.is_empty()
    }
}

impl Workloads {
    /// Takes what processes told, and looks at those that wait for it. Never waits itself.
    pub fn take_hints(&mut self, now: BootNanos) {
        self.now = self.now.max(now);
        for (look, told) in self.hints.aside.answers(self.now) {
            match told {
                Some(Told::Sandbox(id)) => self.ask_for_sandbox(look.workload, id),
                Some(Told::Task(environment)) => self.name_task(look.workload, environment),
                None => {}
            }
        }
        if self.hints.aside.is_idle() && !self.hints.waiting.is_empty() {
            let looks = std::mem::take(&mut self.hints.waiting);
            self.hints.aside.start(looks, self.now);
        }
    }

    /// Has a process of a workload looked at that wants a hint.
    pub(super) fn ask_process(&mut self, ix: WorkloadIx, pid: HostPid) {
        let Some(record) = self.table.get_mut(ix) else { return };
        let (Hint::Wanted(looks), Key::Container(runtime, ..)) = (&record.hint, &record.key) else { return };
        if pid.0 == 0 || !self.hints.has_room() {
            return;
        }
        self.hints.waiting.push(Look { workload: ix, pid, runtime: *runtime });
        let looks = looks.saturating_sub(1);
        record.hint = if looks == 0 { Hint::Needless } else { Hint::Wanted(looks) };
    }

    /// The runtime knows the sandbox by an id that gVisor's process has as its last argument.
    fn ask_for_sandbox(&mut self, ix: WorkloadIx, id: Arc<str>) {
        let Some(record) = self.table.get_mut(ix) else { return };
        if matches!(record.hint, Hint::Told(_)) {
            return;
        }
        record.hint = Hint::Told(id.clone());
        record.naming = Naming::Pending;
        // The question by the pod, which is on its way since the workload was made, must not stand in for this one.
        self.inspections.forget(ix);
        self.inspections.push(ContainerRef { workload: ix, runtime: Runtime::Kubepods, id, user: None });
    }

    /// Whether a question was put by less than is known by now, so that its failure says nothing.
    pub(super) fn has_better_id(&self, container: &ContainerRef) -> bool {
        let hint = self.table.get(container.workload).map(|record| &record.hint);
        matches!(hint, Some(Hint::Told(id)) if *id != container.id)
    }

    fn name_task(&mut self, ix: WorkloadIx, environment: BTreeMap<String, String>) {
        // A name that another workload has would make one of both, which the other tables would not hear of.
        let Some(name) = naming::nomad(&environment).filter(|name| !self.table.is_taken(name)) else {
            return;
        };
        let Some(record) = self.table.get_mut(ix) else { return };
        let Key::Container(_, id, _) = record.key.clone() else { return };
        record.hint = Hint::Needless;
        let metadata = ContainerMetadata { name, environment, ..ContainerMetadata::default() };
        let merged = self.table.name(ix, &id, metadata, self.unix);
        debug_assert_eq!(merged, None, "the name was free");
    }
}
