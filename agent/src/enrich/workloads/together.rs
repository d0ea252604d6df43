//! The cgroups of containers that turned out to be one workload and live side by side, as concurrent runs of a cronjob.
//!
//! Each is read, as long as its directory is there, and they are taken for one: use and limits add up, see
//! [`Resources::and`]. What one counted when it ended stays in the sum as long as another one goes on, so that no counter
//! goes back. When none goes on the next one begins anew, as a container does that is started again: what is kept beyond
//! need would be lost when the agent restarts. Pressure is that of the longest-lived one, and goes on from there when the
//! next one takes its place.

use std::path::Path;

use super::record::{Key, Record};
use crate::model::CgroupId;
use crate::resources::{self, CgroupMounts, CgroupPaths, Controller, Pressure, Reader, Resources};

/// Cgroups beside a workload's own.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// The oldest one first.
    others: Vec<Other>,
    /// The last reading of the own cgroup, by its ids, as long as it is not the only one.
    own: Option<([CgroupId; 2], Resources)>,
    /// What those counted that have ended.
    ended: Option<Resources>,
    stalls: Option<Stalls>,
}

/// The cgroup of an older container of the same name.
#[derive(Debug)]
struct Other {
    key: Key,
    paths: CgroupPaths,
    last: Option<Resources>,
    /// Kills that its file told so far.
    kills: Option<u64>,
}

/// What is shown of pressure.
#[derive(Debug)]
struct Stalls {
    /// Whose it is.
    of: Key,
    shown: Pressure,
    /// What is shown beyond what the cgroup says.
    beyond: Pressure,
}

impl Stalls {
    /// What a cgroup says, after what was shown before.
    fn after(before: Option<Self>, of: Key, now: Pressure) -> Self {
        let beyond = match before {
            None => Pressure::default(),
            Some(before) if before.of == of => before.beyond,
            Some(before) => before.shown.with(&now, |shown, now| shown - now),
        };
        Self { of, shown: now.with(&beyond, |now, beyond| now + beyond), beyond }
    }
}

impl Together {
    /// Takes in an older workload, which has so many others at most.
    pub(super) fn join(&mut self, older: &mut Record, max: usize) {
        let before = std::mem::take(&mut older.together);
        let own = Other {
            key: older.key.clone(),
            paths: older.paths.clone(),
            last: before.own.map(|(_, last)| last),
            kills: older.oom_kills.file(),
        };
        let newer = std::mem::take(&mut self.others);
        self.others = before.others.into_iter().chain([own]).chain(newer).collect();
        self.stalls = before.stalls.or(self.stalls.take());
        self.end(before.ended);
        let too_many = self.others.len().saturating_sub(max);
        let forgotten: Vec<_> = self.others.drain(..too_many).collect();
        forgotten.into_iter().for_each(|other| self.end(other.last));
    }

    /// Whether there is any beside the own one.
    pub(super) fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Where the cgroup of another container of the name is.
    pub(super) fn paths_of(&mut self, key: &Key) -> &mut CgroupPaths {
        let known = self.others.iter().position(|other| other.key == *key);
        let at = known.unwrap_or_else(|| {
            let paths = CgroupPaths::default();
            self.others.push(Other { key: key.clone(), paths, last: None, kills: None });
            self.others.len() - 1
        });
        &mut self.others[at].paths
    }

    fn end(&mut self, last: Option<Resources>) {
        if let Some(last) = last {
            self.ended = Some(match self.ended.take() {
                Some(ended) => last.and(&ended),
                None => last,
            });
        }
    }
}

impl Record {
    /// Reads what its cgroups say, as one. Returns also what its own said of kills.
    pub(super) fn read(&mut self, reader: &mut Reader, mounts: &CgroupMounts) -> (Resources, Option<u64>) {
        if !self.together.has_others() && self.together.ended.is_none() {
            self.together = Together::default();
            let read = reader.read(mounts, &self.paths);
            let kills = read.memory.events.oom_kill;
            return (read, kills);
        }
        let mut living = Vec::new();
        let is_continued =
            self.read_others(reader, mounts, &mut living) | self.read_own(reader, mounts, &mut living);
        let kills = self.together.own.as_ref().and_then(|(_, own)| own.memory.events.oom_kill);
        if !is_continued {
            (self.together.ended, self.together.stalls) = (None, None);
        }
        let longest = living.first().map(|(key, read)| (key.clone(), read.pressure));
        let sum = living.into_iter().map(|(_, read)| read).reduce(|sum, read| sum.and(&read));
        let (Some(sum), Some((of, pressure))) = (sum, longest) else { return (Resources::default(), kills) };
        let stalls = Stalls::after(self.together.stalls.take(), of, pressure);
        let pressure = self.together.stalls.insert(stalls).shown;
        let sum = match &self.together.ended {
            Some(ended) => sum.after(ended),
            None => sum,
        };
        (Resources { pressure, ..sum }, kills)
    }

    /// Reads the others, and drops those that are gone. Returns whether one goes on that was read before.
    fn read_others(
        &mut self,
        reader: &mut Reader,
        mounts: &CgroupMounts,
        living: &mut Vec<(Key, Resources)>,
    ) -> bool {
        let mut is_continued = false;
        for mut other in std::mem::take(&mut self.together.others) {
            if !is_there(mounts, &other.paths) {
                self.together.end(other.last);
                continue;
            }
            if are_nested(&other.paths, &self.paths) {
                continue;
            }
            let read = whole(reader.read(mounts, &other.paths), other.last.as_ref());
            if let Some(kills) = read.memory.events.oom_kill {
                self.oom_kills.add(kills.saturating_sub(other.kills.replace(kills).unwrap_or(0)));
            }
            is_continued |= other.last.replace(read.clone()).is_some();
            living.push((other.key.clone(), read));
            self.together.others.push(other);
        }
        is_continued
    }

    /// The same for its own, which is another one after a restart.
    fn read_own(
        &mut self,
        reader: &mut Reader,
        mounts: &CgroupMounts,
        living: &mut Vec<(Key, Resources)>,
    ) -> bool {
        let ids = self.starts.ids();
        let is_there = is_there(mounts, &self.paths);
        let before = match self.together.own.take() {
            Some((known, last)) if is_there && known == ids => Some(last),
            Some((_, last)) => {
                self.together.end(Some(last));
                None
            }
            None => None,
        };
        if is_there {
            let read = whole(reader.read(mounts, &self.paths), before.as_ref());
            living.push((self.key.clone(), read.clone()));
            self.together.own = Some((ids, read));
        }
        before.is_some()
    }
}

/// A reading that got nothing, as of a cgroup that is just removed, says no less than the one before.
fn whole(read: Resources, before: Option<&Resources>) -> Resources {
    match before {
        Some(before) if read.cpu.usage_seconds.is_none() => before.clone(),
        _ => read,
    }
}

/// Whether one cgroup is inside the other, as a pod's sandbox is inside the pod: their numbers hold each other's.
fn are_nested(one: &CgroupPaths, other: &CgroupPaths) -> bool {
    let is_inside = |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'));
    [(&one.v1, &other.v1), (&one.v2, &other.v2)].into_iter().any(|(one, other)| match (one, other) {
        (Some(one), Some(other)) => is_inside(one, other) || is_inside(other, one),
        _ => false,
    })
}

/// Whether the directory of a cgroup is there.
fn is_there(mounts: &CgroupMounts, paths: &CgroupPaths) -> bool {
    let is_directory = |root: Option<&Path>, path: &Option<Box<str>>| {
        root.zip(path.as_deref()).is_some_and(|(root, path)| resources::below(root, path).is_dir())
    };
    is_directory(mounts.v1(Controller::Memory), &paths.v1) || is_directory(mounts.v2(), &paths.v2)
}
