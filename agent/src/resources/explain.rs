//! Why the cgroups of this machine do not tell something: from what the hierarchies have, without any container.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{Files, Roots};
use super::{CgroupMounts, Controller, files, v1};
use crate::health::Absent;
use crate::registry::Metric;
use crate::registry::catalog::container::*;

const PRESSURE: [&Metric; 3] = [
    &RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL,
    &RESOURCES_MEMORY_PRESSURE_WAITING_SECONDS_TOTAL,
    &RESOURCES_IO_PRESSURE_WAITING_SECONDS_TOTAL,
];
const QUOTA: [&Metric; 4] = [
    &RESOURCES_CPU_LIMIT_CORES,
    &RESOURCES_CPU_THROTTLED_SECONDS_TOTAL,
    &RESOURCES_CPU_PERIODS_TOTAL,
    &RESOURCES_CPU_THROTTLED_PERIODS_TOTAL,
];
const MEMORY: [&Metric; 8] = [
    &RESOURCES_MEMORY_RSS_BYTES,
    &RESOURCES_MEMORY_CACHE_BYTES,
    &RESOURCES_MEMORY_WORKING_SET_BYTES,
    &RESOURCES_MEMORY_LIMIT_BYTES,
    &RESOURCES_MEMORY_EFFECTIVE_LIMIT_BYTES,
    &RESOURCES_MEMORY_MAJOR_FAULTS_TOTAL,
    &RESOURCES_MEMORY_EVENTS_TOTAL,
    &OOM_KILLS_TOTAL,
];
const SWAP: [&Metric; 2] = [&RESOURCES_MEMORY_SWAP_BYTES, &RESOURCES_MEMORY_SWAP_LIMIT_BYTES];
const DISKS: [&Metric; 6] = [
    &RESOURCES_DISK_READS_TOTAL,
    &RESOURCES_DISK_WRITES_TOTAL,
    &RESOURCES_DISK_READ_BYTES_TOTAL,
    &RESOURCES_DISK_WRITTEN_BYTES_TOTAL,
    &RESOURCES_DISK_DISCARDS_TOTAL,
    &RESOURCES_DISK_DISCARDED_BYTES_TOTAL,
];

/// Says what the cgroup hierarchies do not tell, and why.
pub fn explain(mounts: &CgroupMounts, proc_root: &Path, absent: &mut Absent) {
    let unified = Unified::of(mounts);
    absent_if(unified.lacks_pressure(), &PRESSURE, absent);
    absent_if(lacks_quota(mounts, &unified), &QUOTA, absent);
    if mounts.v1(Controller::Memory).is_none() {
        absent_if(unified.lacks("memory"), &[&MEMORY[..], &SWAP].concat(), absent);
    }
    absent_if(lacks_swap(mounts, &unified), &SWAP, absent);
    if mounts.v1(Controller::Pids).is_none() {
        absent_if(unified.lacks("pids"), &[&RESOURCES_TASKS_LIMIT], absent);
    }
    absent_if(lacks_disks(mounts, &unified, proc_root), &DISKS, absent);
}

fn absent_if(reason: Option<String>, metrics: &[&'static Metric], absent: &mut Absent) {
    if let Some(reason) = reason {
        absent.push_all(metrics, &reason);
    }
}

/// What the unified hierarchy has.
struct Unified {
    root: Option<PathBuf>,
    /// The names in `cgroup.controllers`.
    controllers: String,
    /// Some group below the root: several files stand only there.
    group: Option<PathBuf>,
}

impl Unified {
    fn of(mounts: &CgroupMounts) -> Self {
        let root = mounts.v2().map(Path::to_owned);
        let controllers = root.as_ref().and_then(|root| files::text(&root.join("cgroup.controllers")));
        let entries = root.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
        let group = entries.map(|entry| entry.path()).find(|path| path.join("cgroup.procs").exists());
        Self { root, controllers: controllers.unwrap_or_default(), group }
    }

    fn lacks_pressure(&self) -> Option<String> {
        let Some(root) = &self.root else {
            return Some("no cgroup2 hierarchy is mounted, and pressure is counted nowhere else".to_owned());
        };
        let reason =
            "the kernel counts no pressure: it takes CONFIG_PSI, and `psi=1` where that is off by default";
        // Before Linux 6.1 the files are there in any case, and refuse to be read.
        fs::read(root.join("cpu.pressure")).is_err().then(|| reason.to_owned())
    }

    /// Why a controller that is in no v1 hierarchy is not in this one either.
    fn lacks(&self, controller: &str) -> Option<String> {
        if self.root.is_none() {
            return Some(format!("no cgroup hierarchy with the {controller} controller is mounted"));
        }
        let has = self.controllers.split_ascii_whitespace().any(|known| known == controller);
        (!has).then(|| format!("the kernel has no {controller} controller, or it is disabled at boot"))
    }

    fn group_lacks(&self, file: &str) -> bool {
        self.group.as_ref().is_some_and(|group| !group.join(file).exists())
    }
}

fn lacks_quota(mounts: &CgroupMounts, unified: &Unified) -> Option<String> {
    let built_without = || "the kernel was built without CPU quotas (CONFIG_CFS_BANDWIDTH)".to_owned();
    match mounts.v1(Controller::Cpu) {
        Some(root) => (!root.join("cpu.cfs_quota_us").exists()).then(built_without),
        None => unified.lacks("cpu"),
    }
}

fn lacks_swap(mounts: &CgroupMounts, unified: &Unified) -> Option<String> {
    let is_off = match mounts.v1(Controller::Memory) {
        Some(root) => !root.join("memory.memsw.limit_in_bytes").exists(),
        None => !unified.group_lacks("memory.current") && unified.group_lacks("memory.swap.current"),
    };
    is_off.then(|| {
        "swap is not accounted to cgroups: it takes CONFIG_SWAP, and `swapaccount=1` before 6.1".to_owned()
    })
}

fn lacks_disks(mounts: &CgroupMounts, unified: &Unified, proc_root: &Path) -> Option<String> {
    let Some(root) = mounts.v1(Controller::Blkio) else { return unified.lacks("io") };
    let mut buffer = Vec::new();
    let files = Files::open(&mut Roots::default(), root, "/", &mut buffer);
    let counted = files.map(|mut files| v1::disks(&mut files)).unwrap_or_default();
    let is_silent = counted.is_empty() && any_disk_worked(proc_root);
    is_silent.then(|| {
        "blkio.throttle.* count nothing on this kernel: some count only on devices with a throttling limit, and \
         only cgroup2's io.stat counts always"
            .to_owned()
    })
}

/// Whether any disk has completed a read or a write, by fields 4 and 8 of `/proc/diskstats`.
fn any_disk_worked(proc_root: &Path) -> bool {
    let text = files::text(&proc_root.join("diskstats")).unwrap_or_default();
    text.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(3);
        [words.next(), words.nth(3)].into_iter().flatten().any(|word| word != "0")
    })
}
