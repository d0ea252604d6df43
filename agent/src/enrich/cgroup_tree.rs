//! From a cgroup's id to who lives in it.
//!
//! The id of a cgroup is the inode of its directory. The tree is filled by walking the mounts, kept current by events
//! about directories made and removed, and walked again when an id turns up that nobody announced: at most once a second,
//! and ever more rarely while the walks explain nothing. Ids of removed cgroups stay known for a minute, for what still
//! arrives about them.
//!
//! A runtime makes the cgroup of a container anew at each start, and systemd that of a service: the tree tells each own
//! cgroup it learns of once, however it did, and no later than any cgroup below that one.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::Path;

use foldhash::{HashMap, HashMapExt as _};

use super::cgroup_path::{self, Owner};
use crate::model::{BootNanos, CgroupId};
use crate::resources::{CgroupMounts, Controller, HierarchyRoot};

/// The two number spaces of cgroup ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hierarchy {
    /// The v1 hierarchy of the memory controller, and no other: each v1 hierarchy numbers for itself.
    V1,
    /// The unified hierarchy.
    V2,
}

impl Hierarchy {
    /// Its place in an array of both.
    pub fn index(self) -> usize {
        match self {
            Self::V1 => 0,
            Self::V2 => 1,
        }
    }
}

/// What is known of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Who owns its processes.
    pub owner: Owner,
    /// Path of the owner's cgroup: this one or one above; empty for an owner without one.
    pub own_path: Box<str>,
    /// Containers around each other, the owner included.
    pub nesting: u8,
    /// The user in whose slice a container is; root and the system are nobody.
    pub user: Option<u32>,
    removed: Option<BootNanos>,
}

/// The own cgroup of a container or service, which was not known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Born {
    /// Where.
    pub hierarchy: Hierarchy,
    /// Its id.
    pub id: CgroupId,
    /// What is known of it.
    pub cgroup: Cgroup,
}

/// The cgroups that an owner had at one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// How many were learnt of, without a minute between one's end and the next one.
    pub births: u64,
    /// The latest one.
    pub last: CgroupId,
}

/// What the tree did and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeStats {
    /// Cgroups known, removed ones included.
    pub known: usize,
    /// Walks over the mounts.
    pub scans: u64,
    /// Ids that no walk and no event explained.
    pub unknown: u64,
    /// Cgroups left out because the tree was full.
    pub overflowed: u64,
    /// Directories that could not be read.
    pub unreadable: u64,
}

/// All cgroups of the machine by id.
#[derive(Debug)]
pub struct CgroupTree {
    roots: Vec<(Hierarchy, HierarchyRoot)>,
    cgroups: HashMap<(Hierarchy, CgroupId), Cgroup>,
    /// Own cgroups by hierarchy and path: each is one of `cgroups`.
    own: [HashMap<Box<str>, Own>; 2],
    /// Since they were taken the last time.
    born: Vec<Born>,
    scanned: Option<BootNanos>,
    /// Nanoseconds until the next walk is allowed.
    scan_interval: u64,
    stats: TreeStats,
}

const SECOND: u64 = 1_000_000_000;
const SCAN_INTERVAL: u64 = SECOND;
/// Where ids never show below the mounts, as inside a cgroup namespace, walking costs next to nothing.
const MAX_SCAN_INTERVAL: u64 = 64 * SECOND;
const REFRESH: u64 = 600 * SECOND;
const KEEP_REMOVED: u64 = 60 * SECOND;
/// Cgroups that may be known at once. A node of Kubernetes has below 2,000; at about 200 bytes each this is 13 MB, and as
/// much again if each is somebody's own.
const MAX_CGROUPS: usize = 65_536;
/// Deeper than any nesting of containers goes; bounds a walk if directories appear faster than it proceeds.
const MAX_DEPTH: usize = 64;
/// Directories in which a path from outside the agent's cgroup namespace is looked for.
const MAX_PARENTS: usize = 1024;

impl CgroupTree {
    /// An empty tree over the mounts; [`scan`](Self::scan) fills it.
    pub fn new(mounts: &CgroupMounts) -> Self {
        let v1 = mounts.v1_root(Controller::Memory).map(|root| (Hierarchy::V1, root.clone()));
        let v2 = mounts.v2_root().map(|root| (Hierarchy::V2, root.clone()));
        let roots = v1.into_iter().chain(v2).collect();
        Self {
            roots,
            cgroups: HashMap::new(),
            own: [HashMap::new(), HashMap::new()],
            born: Vec::new(),
            scanned: None,
            scan_interval: SCAN_INTERVAL,
            stats: TreeStats::default(),
        }
    }

    /// What is known of an id, without looking at any file.
    pub fn get(&self, hierarchy: Hierarchy, id: CgroupId) -> Option<&Cgroup> {
        self.cgroups.get(&(hierarchy, id))
    }

    /// All that is known of a hierarchy, in any order.
    pub fn all(&self, hierarchy: Hierarchy) -> impl Iterator<Item = &Cgroup> {
        self.cgroups.iter().filter(move |((of, _), _)| *of == hierarchy).map(|(_, cgroup)| cgroup)
    }

    /// Looks an id up; when it is unknown, asks `hint` for a path it may have, and walks the mounts again if that does
    /// not settle it and the last walk was long enough ago.
    pub fn find(
        &mut self,
        hierarchy: Hierarchy,
        id: CgroupId,
        hint: impl FnOnce() -> Option<String>,
        now: BootNanos,
    ) -> Option<&Cgroup> {
        if id.0 == 0 || !self.has(hierarchy) {
            return None;
        }
        if !self.cgroups.contains_key(&(hierarchy, id)) {
            let settled = hint().is_some_and(|path| self.verify(hierarchy, id, &path));
            if !settled && self.may_scan(now) {
                self.scan(now);
                let explained = self.cgroups.contains_key(&(hierarchy, id));
                self.scan_interval =
                    if explained { SCAN_INTERVAL } else { (self.scan_interval * 2).min(MAX_SCAN_INTERVAL) };
            }
            if !self.cgroups.contains_key(&(hierarchy, id)) {
                self.stats.unknown += 1;
            }
        }
        self.get(hierarchy, id)
    }

    /// Whether a hierarchy is mounted.
    pub fn has(&self, hierarchy: Hierarchy) -> bool {
        self.roots.iter().any(|(other, _)| *other == hierarchy)
    }

    /// A directory was made; the path is relative to the root of its hierarchy.
    pub fn insert(&mut self, hierarchy: Hierarchy, id: CgroupId, path: &str) {
        let is_new = !self.cgroups.contains_key(&(hierarchy, id));
        if is_new && self.cgroups.len() >= MAX_CGROUPS {
            self.stats.overflowed += 1;
            return;
        }
        let found = cgroup_path::classify(path);
        let is_own = found.own_path == path.trim_end_matches('/');
        let (own_path, nesting, user) = (found.own_path.into(), found.nesting, found.user);
        let cgroup = Cgroup { own_path, nesting, user, owner: found.owner, removed: None };
        if is_new && cgroup.owner != Owner::Unmanaged {
            self.learn_own(hierarchy, is_own.then_some(id), &cgroup);
        }
        self.cgroups.insert((hierarchy, id), cgroup);
    }

    /// Own cgroups learnt of since the last call.
    pub fn take_born(&mut self) -> Vec<Born> {
        std::mem::take(&mut self.born)
    }

    /// The own cgroups at a path, if one is known.
    pub fn own(&self, hierarchy: Hierarchy, path: &str) -> Own {
        self.own[hierarchy.index()].get(path).copied().unwrap_or_default()
    }

    /// A directory was removed. What is known of it is forgotten a minute later.
    pub fn remove(&mut self, hierarchy: Hierarchy, id: CgroupId, now: BootNanos) {
        if let Some(cgroup) = self.cgroups.get_mut(&(hierarchy, id)) {
            cgroup.removed.get_or_insert(now);
        }
    }

    /// Forgets what was removed long enough ago.
    pub fn forget_removed(&mut self, now: BootNanos) {
        let own = &mut self.own;
        self.cgroups.retain(|(hierarchy, id), cgroup| {
            let is_kept = cgroup.removed.is_none_or(|at| now.since(at) < KEEP_REMOVED);
            let own = &mut own[hierarchy.index()];
            if !is_kept && own.get(&cgroup.own_path).is_some_and(|own| own.last == *id) {
                own.remove(&cgroup.own_path);
            }
            is_kept
        });
    }

    /// Walks the mounts if nobody did for ten minutes: where no event tells of a removal, only a walk does.
    pub fn refresh(&mut self, now: BootNanos) {
        if self.scanned.is_none_or(|at| now.since(at) >= REFRESH) {
            self.scan(now);
        }
    }

    /// Walks the mounts: takes in what is new and marks what is gone.
    pub fn scan(&mut self, now: BootNanos) {
        self.scanned = Some(now);
        self.stats.scans += 1;
        let mut seen = HashSet::new();
        for (hierarchy, root) in self.roots.clone() {
            self.walk(hierarchy, &root.path, &mut seen);
        }
        for (key, cgroup) in &mut self.cgroups {
            if !seen.contains(key) {
                cgroup.removed.get_or_insert(now);
            }
        }
        self.forget_removed(now);
    }

    /// The id of the cgroup that a process' `/proc/<pid>/cgroup` shows, from its directory. `None` when several cgroups
    /// may be meant.
    pub fn id_at(&self, hierarchy: Hierarchy, shown: &str) -> Option<CgroupId> {
        let mut found = self.places(hierarchy, shown);
        found.pop().filter(|_| found.is_empty()).map(|(_, id)| id)
    }

    /// The cgroups that may be meant, by path and id. `/proc` counts from the root of the agent's own cgroup namespace:
    /// `/../x` is beside that root, in a directory whose name the agent cannot learn, but whose depth it knows.
    fn places(&self, hierarchy: Hierarchy, shown: &str) -> Vec<(String, CgroupId)> {
        let Some((_, root)) = self.roots.iter().find(|(other, _)| *other == hierarchy) else {
            return Vec::new();
        };
        let (mut rest, mut depth) = (shown, root.levels_above);
        while let Some(above) =
            rest.strip_prefix("/..").filter(|above| above.is_empty() || above.starts_with('/'))
        {
            rest = above;
            depth = depth.saturating_sub(1);
        }
        let mut parents = vec![String::new()];
        for _ in 0..depth {
            parents =
                parents.iter().flat_map(|parent| children(&root.path, parent)).take(MAX_PARENTS).collect();
        }
        let places = parents.into_iter().filter_map(|parent| {
            let path = format!("{parent}{rest}");
            let metadata = fs::metadata(crate::resources::below(&root.path, &path)).ok()?;
            Some((path, CgroupId(metadata.ino())))
        });
        places.collect()
    }

    /// What the tree did and lost.
    pub fn stats(&self) -> TreeStats {
        TreeStats { known: self.cgroups.len(), ..self.stats }
    }

    /// Cgroups that there is room for.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.own.iter().map(HashMap::capacity).fold(self.cgroups.capacity(), usize::max)
    }

    fn may_scan(&self, now: BootNanos) -> bool {
        self.scanned.is_none_or(|at| now.since(at) >= self.scan_interval)
    }

    fn walk(&mut self, hierarchy: Hierarchy, root: &Path, seen: &mut HashSet<(Hierarchy, CgroupId)>) {
        match fs::metadata(root) {
            Ok(metadata) => self.note(hierarchy, CgroupId(metadata.ino()), "/", seen),
            Err(_) => self.stats.unreadable += 1,
        }
        let mut pending = vec![(root.to_owned(), String::new(), 0)];
        while let Some((directory, path, depth)) = pending.pop() {
            // A directory may vanish between being listed and being read; its siblings are read all the same.
            let Ok(entries) = fs::read_dir(&directory) else {
                self.stats.unreadable += 1;
                continue;
            };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                let path = format!("{path}/{}", entry.file_name().to_string_lossy());
                self.note(hierarchy, CgroupId(entry.ino()), &path, seen);
                if depth < MAX_DEPTH && seen.len() < MAX_CGROUPS {
                    pending.push((entry.path(), path, depth + 1));
                }
            }
        }
    }

    fn note(
        &mut self,
        hierarchy: Hierarchy,
        id: CgroupId,
        path: &str,
        seen: &mut HashSet<(Hierarchy, CgroupId)>,
    ) {
        seen.insert((hierarchy, id));
        match self.cgroups.get_mut(&(hierarchy, id)) {
            Some(known) => known.removed = None,
            None => self.insert(hierarchy, id, path),
        }
    }

    /// Takes in that an own cgroup was made; `id` is `None` when only one below it is known so far.
    fn learn_own(&mut self, hierarchy: Hierarchy, id: Option<CgroupId>, cgroup: &Cgroup) {
        let path = &cgroup.own_path;
        match id {
            Some(id) => {
                let own = self.own[hierarchy.index()].entry(path.clone()).or_default();
                *own = Own { births: own.births + 1, last: id };
                self.born.push(Born { hierarchy, id, cgroup: cgroup.clone() });
            }
            None if path.is_empty() || self.own[hierarchy.index()].contains_key(path) => {}
            None => {
                let root = self.roots.iter().find(|(other, _)| *other == hierarchy);
                let directory = root.map(|(_, root)| crate::resources::below(&root.path, path));
                if let Some(metadata) = directory.and_then(|directory| fs::metadata(directory).ok()) {
                    self.insert(hierarchy, CgroupId(metadata.ino()), path);
                }
            }
        }
    }

    /// Takes a path over if the directory there has the id that was asked for.
    fn verify(&mut self, hierarchy: Hierarchy, id: CgroupId, shown: &str) -> bool {
        let place = self.places(hierarchy, shown).into_iter().find(|(_, found)| *found == id);
        if let Some((path, _)) = &place {
            self.insert(hierarchy, id, path);
        }
        place.is_some()
    }
}

/// Paths of the directories in a directory of a hierarchy; none when it is gone.
fn children(root: &Path, parent: &str) -> Vec<String> {
    let entries = fs::read_dir(crate::resources::below(root, parent));
    let directories = entries.into_iter().flatten().flatten();
    directories
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| format!("{parent}/{}", entry.file_name().to_string_lossy()))
        .collect()
}

#[cfg(test)]
mod tests;
