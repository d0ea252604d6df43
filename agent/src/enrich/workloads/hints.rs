//! What only its processes tell about a container: the id behind a pod without cgroups of its containers (gVisor), and
//! the names of a task of Nomad.
//!
//! A few processes of such a container are looked at, in bounded reads of `/proc`, when it is new and at the next full
//! passes. Arguments and environment are in a process' own memory, and the kernel waits for the lock of that memory: a
//! process that is stuck with it would hold up the event loop. Hence only those are read that nothing else can name: pods
//! without containers, and tasks of Nomad's own executors, and never what a user's slice makes look like them.

use super::Workloads;
use super::record::{Hint, Key, Naming};
use crate::enrich::cgroup_path::Runtime;
use crate::enrich::metadata::{ContainerMetadata, ContainerRef};
use crate::enrich::{keep, naming, process};
use crate::model::{HostPid, WorkloadIx};

impl Workloads {
    /// Looks at a process of a workload that wants a hint.
    pub(super) fn ask_process(&mut self, ix: WorkloadIx, pid: HostPid) {
        let Some(record) = self.table.get_mut(ix) else { return };
        let (Hint::Wanted(looks), Key::Container(runtime, ..)) = (&record.hint, &record.key) else { return };
        let (looks, runtime) = (looks.saturating_sub(1), *runtime);
        if pid.0 == 0 {
            return;
        }
        record.hint = if looks == 0 { Hint::Needless } else { Hint::Wanted(looks) };
        match runtime {
            Runtime::Nomad => self.ask_for_task(ix, pid),
            _ => self.ask_for_sandbox(ix, pid),
        }
    }

    /// The runtime knows the sandbox by an id that gVisor's process has as its last argument.
    fn ask_for_sandbox(&mut self, ix: WorkloadIx, pid: HostPid) {
        let Some(id) = process::sandbox_id(&self.settings.proc_root, pid) else { return };
        let Some(record) = self.table.get_mut(ix) else { return };
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

    fn ask_for_task(&mut self, ix: WorkloadIx, pid: HostPid) {
        let variables = process::variables(&self.settings.proc_root, pid);
        let environment = keep::environment(variables.iter().map(String::as_str));
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
