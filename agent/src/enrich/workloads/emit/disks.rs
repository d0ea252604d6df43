//! The disks that a workload works on, and the volumes it sees, as series.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use super::usage::Sources;
use super::{REFRESH, Workloads};
use crate::enrich::workloads::record::{Key, Record};
use crate::model::{BootNanos, DeviceId, DiskIo, HostPid, WorkloadIx};
use crate::registry::catalog::container::*;
use crate::registry::{Labels, SnapshotBuilder};
use crate::resources::{self, DiskNames, Question, Space, Volume, mountinfo};

/// What is known of a workload's disks, with the time its mounts were read.
#[derive(Debug, Default)]
pub(in super::super) struct Disks {
    read_at: Option<BootNanos>,
    volumes: Vec<Shown>,
    labels: HashMap<DeviceId, Arc<Labels>>,
}

/// A volume and its series.
#[derive(Debug)]
struct Shown {
    volume: Volume,
    labels: Arc<Labels>,
    /// It is the one that stands for its disk.
    is_for_disk: bool,
    is_asked: bool,
    space: Option<Space>,
}

impl Workloads {
    /// Adds I/O by disk, and decides whose size is asked.
    pub(super) fn collect_disks(
        &mut self,
        builder: &mut SnapshotBuilder,
        ix: WorkloadIx,
        sources: &mut Sources,
        disks: &[DiskIo],
    ) {
        let proc_root = &self.settings.proc_root;
        let Some(record) = self.table.get_mut(ix) else { return };
        let is_container = matches!(record.key, Key::Container(..));
        if matches!(record.key, Key::Executable(_)) || !is_container && disks.is_empty() {
            return;
        }
        let pid = record.process.filter(|_| sources.is_due(record.disks.read_at));
        if let Some(pid) = pid
            && let Ok((list, is_whole)) = mountinfo::read(&proc_root.join(format!("{}/mountinfo", pid.0)))
        {
            let now = sources.now;
            let named = |path: &str, filesystem| {
                named_by_runtime(record, path).or_else(|| sources.named(filesystem?))
            };
            let (volumes, refused) = resources::volumes(&list, &sources.names, named);
            // How many mounts the rest has is not known.
            self.stats.volumes_refused.container += refused as u64 + u64::from(!is_whole);
            record.disks.replace(volumes, &sources.names, now);
        }
        record.disks.choose(is_container, disks);
        for disk in disks {
            if let Some(own) = record.disks.labels_of(disk.device, &sources.names) {
                emit_disk(builder, &record.labels, &own, disk);
            }
        }
    }

    /// Adds the sizes of volumes that are known by now.
    pub(super) fn collect_space(&self, builder: &mut SnapshotBuilder, ix: WorkloadIx) {
        let Some(record) = self.table.get(ix).filter(|record| record.process.is_some()) else { return };
        for shown in record.disks.volumes.iter().filter(|shown| shown.is_asked) {
            let Some(space) = shown.space else { continue };
            for (metric, bytes) in [
                (&RESOURCES_DISK_SIZE_BYTES, space.size_bytes),
                (&RESOURCES_DISK_USED_BYTES, space.used_bytes),
                (&RESOURCES_DISK_RESERVED_BYTES, space.reserved_bytes),
            ] {
                builder.number(metric, &record.labels, &shown.labels, bytes as f64);
            }
        }
    }

    /// Asks for the sizes of all volumes, in a thread that may hang.
    pub(super) fn ask_for_space(&mut self, now: BootNanos) {
        self.take_space(now);
        let mut questions = Vec::new();
        for ix in self.table.indices() {
            if let Some(record) = self.table.get(ix) {
                questions.extend(record.disks.questions(ix, record));
            }
        }
        self.stats.volumes_refused.node += questions.len().saturating_sub(MAX_QUESTIONS) as u64;
        questions.truncate(MAX_QUESTIONS);
        self.surveyor.start(questions, now);
        self.stats.volumes_refused.tell();
    }

    /// Takes in what was answered.
    pub(super) fn take_space(&mut self, now: BootNanos) {
        for (question, space) in self.surveyor.answers(now) {
            let Some(record) = self.table.get_mut(question.workload) else { continue };
            let mut volumes = record.disks.volumes.iter_mut();
            let shown = volumes.find(|shown| shown.volume.mount_point == question.mount_point);
            match (shown, space) {
                (Some(shown), Ok(space)) => shown.space = Some(space),
                (Some(shown), Err(reason)) => {
                    shown.space = None;
                    self.space_refused = Some(reason);
                }
                (None, _) => {}
            }
        }
        if self.surveyor.hanging().next().is_some() {
            self.drop_space_left_out();
        }
    }

    /// A volume whose size cannot be asked has none: the last answer would be shown for as long as its server is gone.
    fn drop_space_left_out(&mut self) {
        for ix in self.table.indices() {
            let Some(record) = self.table.get_mut(ix) else { continue };
            let process = record.process;
            for shown in &mut record.disks.volumes {
                if process.is_none_or(|process| self.surveyor.leaves_out(&shown.question(ix, process))) {
                    shown.space = None;
                }
            }
        }
    }
}

impl Shown {
    fn question(&self, workload: WorkloadIx, process: HostPid) -> Question {
        let Volume { mount_point, filesystem, .. } = &self.volume;
        Question { workload, process, mount_point: mount_point.clone(), filesystem: *filesystem }
    }
}

/// Volumes asked for at a time.
const MAX_QUESTIONS: usize = 4096;

impl Disks {
    /// Takes in a new look at the mounts. What the ones before it answered stays until the next answer.
    fn replace(&mut self, volumes: Vec<Volume>, names: &DiskNames, now: BootNanos) {
        let mut before = std::mem::take(&mut self.volumes);
        let for_disk: Vec<_> =
            resources::by_disk(&volumes).into_values().map(|volume| volume.mount_point.clone()).collect();
        let shown = volumes.into_iter().filter_map(|volume| {
            let known = before.iter().position(|known| known.volume == volume);
            let known = known.map(|at| before.swap_remove(at));
            let is_for_disk = for_disk.contains(&volume.mount_point);
            Some(match known {
                Some(known) => Shown { is_for_disk, ..known },
                None => {
                    let labels = labels(&volume, names)?;
                    Shown { volume, labels, is_for_disk, is_asked: false, space: None }
                }
            })
        });
        self.volumes = shown.collect();
        self.labels.clear();
        self.read_at = Some(now);
    }

    /// The names may be others by now.
    pub(in super::super) fn read_again(&mut self) {
        self.read_at = None;
    }

    /// A container's are all it may write to. Other workloads see the whole machine: theirs are the ones that stand for
    /// a disk they have written to.
    fn choose(&mut self, is_container: bool, disks: &[DiskIo]) {
        let has_written = |device| disks.iter().any(|disk| disk.device == device && disk.has_written());
        for shown in &mut self.volumes {
            let is_theirs = is_container || shown.is_for_disk && has_written(shown.volume.disk);
            shown.is_asked = shown.volume.is_writable && is_theirs;
            if !shown.is_asked {
                shown.space = None;
            }
        }
    }

    fn questions<'a>(&'a self, workload: WorkloadIx, record: &Record) -> impl Iterator<Item = Question> + 'a {
        let process = record.process;
        let asked = self.volumes.iter().filter(|shown| shown.is_asked);
        asked.filter_map(move |shown| Some(shown.question(workload, process?)))
    }

    /// Labels of a disk's I/O. What a disk did for a container is told once, however often it is mounted there. A device
    /// without a name has no series; one that the container does not see mounted, as below an overlay, has no mount point.
    fn labels_of(&mut self, device: DeviceId, names: &DiskNames) -> Option<Arc<Labels>> {
        if let Some(known) = self.labels.get(&device) {
            return Some(known.clone());
        }
        let mut for_disks = self.volumes.iter().filter(|shown| shown.is_for_disk);
        let labels = match for_disks.find(|shown| shown.volume.disk == device) {
            Some(shown) => shown.labels.clone(),
            None => Labels::new([("device", names.name(device)?)]),
        };
        self.labels.insert(device, labels.clone());
        Some(labels)
    }
}

fn labels(volume: &Volume, names: &DiskNames) -> Option<Arc<Labels>> {
    let device = names.name(volume.disk)?;
    Some(Labels::new([("mount_point", &*volume.mount_point), ("device", device), ("volume", &*volume.name)]))
}

/// The name that the runtime gave to the volume at a path.
fn named_by_runtime(record: &Record, mount_point: &str) -> Option<Box<str>> {
    let mut mounts = record.metadata.iter().flat_map(|metadata| &metadata.mounts);
    mounts.find(|mount| &*mount.destination == mount_point)?.volume.clone()
}

impl Sources {
    /// Whether a workload's mounts are to be read. Those that were read before are read anew from time to time, a few in
    /// each snapshot.
    fn is_due(&mut self, read_at: Option<BootNanos>) -> bool {
        match read_at {
            None => true,
            Some(at) if self.now.since(at) < REFRESH || self.mounts_left == 0 => false,
            Some(_) => {
                self.mounts_left -= 1;
                true
            }
        }
    }

    fn named(&self, filesystem: DeviceId) -> Option<Box<str>> {
        let known = self.kubelet.get_or_init(|| {
            // Where the host's mounts are not to be seen, what the container sees must do.
            let mountinfo = fs::read_to_string(self.proc_root.join("1/mountinfo")).unwrap_or_default();
            resources::kubelet_volumes(&mountinfo)
        });
        known.get(&filesystem).cloned()
    }
}

fn emit_disk(builder: &mut SnapshotBuilder, owner: &Arc<Labels>, own: &Arc<Labels>, disk: &DiskIo) {
    let values = [
        (&RESOURCES_DISK_READS_TOTAL, disk.reads),
        (&RESOURCES_DISK_WRITES_TOTAL, disk.writes),
        (&RESOURCES_DISK_READ_BYTES_TOTAL, disk.read_bytes),
        (&RESOURCES_DISK_WRITTEN_BYTES_TOTAL, disk.written_bytes),
        (&RESOURCES_DISK_DISCARDS_TOTAL, disk.discards),
        (&RESOURCES_DISK_DISCARDED_BYTES_TOTAL, disk.discarded_bytes),
    ];
    for (metric, value) in values {
        if let Some(value) = value {
            builder.number(metric, owner, own, value as f64);
        }
    }
}
