//! From a process to its workload: by its cgroups, else by its executable.

use std::path::Path;

use super::record::{Key, Record};
use super::{COMM_LEN, MAX_PROCESSES, Workloads};
use crate::enrich::cgroup_tree::{Cgroup, Hierarchy};
use crate::enrich::metadata::ContainerRef;
use crate::enrich::process::{self, Executable};
use crate::model::{BootNanos, CgroupId, Claim, HostPid, Origin, WorkloadIx};
use crate::resources::{self, Controller};

impl Workloads {
    /// The workload of a process; made when it is new.
    pub fn resolve(&mut self, origin: &Origin, now: BootNanos) -> WorkloadIx {
        self.now = self.now.max(now);
        self.resolve_managed(origin).unwrap_or_else(|| self.resolve_executable(origin))
    }

    /// The workload of a socket's owner; made when it is new. A connection that no process has picked up yet has no pid:
    /// it is somebody's only if its cgroup names a container or service.
    pub fn resolve_owner(&mut self, origin: &Origin, now: BootNanos) -> Option<WorkloadIx> {
        if origin.pid.0 != 0 {
            return Some(self.resolve(origin, now));
        }
        self.now = self.now.max(now);
        self.resolve_managed(origin)
    }

    /// What an origin's process tells of the owner of a socket that it holds.
    pub fn claim(&mut self, origin: &Origin, now: BootNanos) -> Claim {
        let workload = self.resolve_owner(origin, now);
        let record = workload.and_then(|ix| self.table.get(ix));
        let is_managed = record.is_some_and(|record| !matches!(record.key, Key::Executable(_)));
        Claim { workload, is_managed, pid: origin.pid }
    }

    /// The container or service of an origin.
    fn resolve_managed(&mut self, origin: &Origin) -> Option<WorkloadIx> {
        let (v1, v2) = self.cgroups(origin);
        let cgroups = (v1, v2);
        if let Some(ix) = self.by_cgroups.get(&cgroups)
            && let Some(record) = self.table.get_mut(*ix)
        {
            record.touch(self.now);
            return Some(*ix);
        }
        let ix = self.resolve_by_files(cgroups, origin.pid)?;
        if ix != Self::OVERFLOW && self.by_cgroups.len() < MAX_PROCESSES {
            self.by_cgroups.insert(cgroups, ix);
        }
        Some(ix)
    }

    /// The cgroups of an origin. Of a hierarchy that the kernel half does not tell, as the v1 ones without BTF, the
    /// process' own file does.
    pub(super) fn cgroups(&self, origin: &Origin) -> (CgroupId, CgroupId) {
        let is_missing = |hierarchy, id: CgroupId| id.0 == 0 && self.tree.has(hierarchy);
        let (v1, v2) = (is_missing(Hierarchy::V1, origin.v1), is_missing(Hierarchy::V2, origin.v2));
        if origin.pid.0 == 0 || !(v1 || v2) {
            return (origin.v1, origin.v2);
        }
        let lines = process::cgroups(&self.settings.proc_root, origin.pid);
        let id = |is_missing, hierarchy, known, path: Option<String>| {
            let path = path.filter(|_| is_missing);
            path.and_then(|path| self.tree.id_at(hierarchy, &path)).unwrap_or(known)
        };
        (id(v1, Hierarchy::V1, origin.v1, lines.v1), id(v2, Hierarchy::V2, origin.v2, lines.v2))
    }

    fn resolve_by_files(&mut self, (v1, v2): (CgroupId, CgroupId), pid: HostPid) -> Option<WorkloadIx> {
        let v1 = self.find_cgroup(Hierarchy::V1, v1, pid);
        let v2 = self.find_cgroup(Hierarchy::V2, v2, pid);
        let weight = |found: &Option<Cgroup>| {
            found.as_ref().map_or((0, 0), |found| (found.nesting, found.owner.rank()))
        };
        // Of two that say equally much the unified hierarchy is believed.
        let owner = if weight(&v1) > weight(&v2) { &v1 } else { &v2 };
        let key = owner.as_ref().and_then(Key::of)?;
        let of_owner = |found: Option<Cgroup>| {
            found.filter(|found| key.is_of(found) && !found.own_path.is_empty()).map(|found| found.own_path)
        };
        let (v1, v2) = (of_owner(v1), of_owner(v2));
        let ix = self.find_or_make(key.clone());
        if let Some(record) = self.table.get_mut(ix) {
            record.touch(self.now);
            // What looks like a part of the container somewhere else never takes the place of its own cgroup.
            let kept = |root: Option<&Path>, known: Option<Box<str>>| {
                known.filter(|known| root.is_some_and(|root| resources::below(root, known).is_dir()))
            };
            let is_other = record.key != key;
            let paths = if is_other { record.together.paths_of(&key) } else { &mut record.paths };
            paths.v1 = kept(self.mounts.v1(Controller::Memory), paths.v1.take()).or(v1);
            paths.v2 = kept(self.mounts.v2(), paths.v2.take()).or(v2);
            let own = |hierarchy, path: &Option<Box<str>>| {
                path.as_deref().map(|path| self.tree.own(hierarchy, path)).unwrap_or_default()
            };
            let own = [own(Hierarchy::V1, &paths.v1), own(Hierarchy::V2, &paths.v2)];
            if !is_other && record.key.restarts() {
                record.restarts += record.starts.begin(own);
            }
        }
        self.ask_process(ix, pid);
        self.want_unit(ix);
        Some(ix)
    }

    fn find_cgroup(&mut self, hierarchy: Hierarchy, id: CgroupId, pid: HostPid) -> Option<Cgroup> {
        let proc_root = &self.settings.proc_root;
        let hint = || {
            let lines = process::cgroups(proc_root, pid);
            if hierarchy == Hierarchy::V1 { lines.v1 } else { lines.v2 }
        };
        let found = self.tree.find(hierarchy, id, hint, self.now).cloned();
        self.count_starts();
        found
    }

    fn resolve_executable(&mut self, origin: &Origin) -> WorkloadIx {
        let known =
            self.executables.get(&origin.pid).filter(|(comm, _)| *comm == origin.comm).map(|(_, ix)| *ix);
        let ix = match known.filter(|ix| self.table.get(*ix).is_some()) {
            Some(ix) => ix,
            None => {
                let key = Key::Executable(self.executable_name(origin));
                let ix = self.find_or_make(key);
                if self.executables.len() < MAX_PROCESSES || self.executables.contains_key(&origin.pid) {
                    self.executables.insert(origin.pid, (origin.comm.clone(), ix));
                }
                ix
            }
        };
        if let Some(record) = self.table.get_mut(ix) {
            record.touch(self.now);
        }
        ix
    }

    /// A process that is gone is known by its `comm` only; when that may have been cut, by the executable it begins.
    fn executable_name(&mut self, origin: &Origin) -> Box<str> {
        match process::executable(&self.settings.proc_root, origin.pid) {
            Executable::File(name) => name,
            Executable::Kernel => "kernel".into(),
            Executable::Unknown => {
                self.stats.unknown_executables += 1;
                let cut = (origin.comm.len() >= COMM_LEN).then(|| self.table.executable_with(&origin.comm));
                let name = cut.flatten().unwrap_or(&origin.comm);
                if name.is_empty() { "unknown".into() } else { name.into() }
            }
        }
    }

    pub(super) fn find_or_make(&mut self, key: Key) -> WorkloadIx {
        if let Some(ix) = self.table.find(&key) {
            return ix;
        }
        let question = key.question(Self::OVERFLOW);
        let Some(ix) = self.table.insert(Record::new(key, self.now, question.is_some())) else {
            self.stats.overflowed += 1;
            return Self::OVERFLOW;
        };
        if let Some(question) = question {
            self.inspections.push(ContainerRef { workload: ix, ..question });
        }
        ix
    }
}
