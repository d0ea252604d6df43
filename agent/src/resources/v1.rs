//! Files of the v1 controllers.

use std::collections::BTreeMap;

use super::files::{Files, pairs};
use super::{Cpu, Memory, MemoryEvents, Tasks};
use crate::model::{DeviceId, DiskIo};

/// Limits above this are the kernel's way to write "none": the largest multiple of the page size.
const NO_LIMIT: u64 = 1 << 62;

/// Time used, from the hierarchy of `cpuacct`. User and system come from `cpuacct.stat`: the files with a finer unit
/// count everything as user time before 5.17.
pub(super) fn cpu_time(files: &mut Files<'_>, ticks_per_second: f64) -> Cpu {
    let mut cpu = Cpu {
        usage_seconds: files.number("cpuacct.usage").map(|nanos| nanos as f64 / 1e9),
        ..Cpu::default()
    };
    for (key, value) in pairs(files.text("cpuacct.stat").unwrap_or_default()) {
        let seconds = Some(value as f64 / ticks_per_second);
        match key {
            "user" => cpu.user_seconds = seconds,
            "system" => cpu.system_seconds = seconds,
            _ => {}
        }
    }
    cpu
}

/// Quota and throttling, from the hierarchy of `cpu`.
pub(super) fn cpu_limits(files: &mut Files<'_>, cpu: &mut Cpu) {
    for (key, value) in pairs(files.text("cpu.stat").unwrap_or_default()) {
        match key {
            "nr_periods" => cpu.periods = Some(value),
            "nr_throttled" => cpu.throttled_periods = Some(value),
            "throttled_time" => cpu.throttled_seconds = Some(value as f64 / 1e9),
            _ => {}
        }
    }
    cpu.limit_cores = limit_cores(files);
}

/// The quota is -1 without a limit, which is not read as a number.
fn limit_cores(files: &mut Files<'_>) -> Option<f64> {
    let quota = files.number("cpu.cfs_quota_us")?;
    let period = files.number("cpu.cfs_period_us").filter(|period| *period > 0)?;
    Some(quota as f64 / period as f64)
}

pub(super) fn memory(files: &mut Files<'_>) -> Memory {
    let limit = |value: u64| Some(value).filter(|limit| *limit <= NO_LIMIT);
    let mut memory = Memory::default();
    let (mut rss, mut mapped, mut inactive_file) = (None, None, None);
    let mut may_be_limited = true;
    for (key, value) in pairs(files.text("memory.stat").unwrap_or_default()) {
        match key {
            "total_rss" => rss = Some(value),
            "total_mapped_file" => mapped = Some(value),
            "total_cache" => memory.cache_bytes = Some(value),
            "total_inactive_file" => inactive_file = Some(value),
            "total_swap" => memory.swap_bytes = Some(value),
            "total_pgmajfault" => memory.major_faults = Some(value),
            "hierarchical_memory_limit" => {
                memory.effective_limit_bytes = limit(value);
                may_be_limited = memory.effective_limit_bytes.is_some();
            }
            _ => {}
        }
    }
    memory.rss_bytes = rss.zip(mapped).map(|(rss, mapped)| rss + mapped);
    memory.working_set_bytes = super::working_set(files.number("memory.usage_in_bytes"), inactive_file);
    // Without a limit on the way up to the root there is none of the group's own.
    if may_be_limited {
        memory.limit_bytes = files.number("memory.limit_in_bytes").and_then(limit);
        // This one limits memory and swap together; what is above the limit of memory is left for swap alone.
        let both = files.number("memory.memsw.limit_in_bytes").and_then(limit);
        memory.swap_limit_bytes = both.zip(memory.limit_bytes).and_then(|(both, own)| both.checked_sub(own));
    }
    memory.events = events(files);
    memory
}

/// Of the events v1 counts only two. The kernel counts them for the group itself, without those below it.
fn events(files: &mut Files<'_>) -> MemoryEvents {
    let max = files.number("memory.failcnt");
    let text = files.text("memory.oom_control").unwrap_or_default();
    let oom_kill = pairs(text).find(|(key, _)| *key == "oom_kill").map(|(_, value)| value);
    MemoryEvents { max, oom_kill, ..MemoryEvents::default() }
}

pub(super) fn tasks(files: &mut Files<'_>) -> Tasks {
    Tasks { current: files.number("pids.current"), limit: files.number("pids.max") }
}

const OPERATIONS: [&str; 2] = ["blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"];
const BYTES: [&str; 2] = ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"];

/// Operations and bytes as the throttling layer counts them, the cgroups below included.
///
/// Many kernels count only on devices that somebody has set a limit on; some do not list the others, some list them with
/// zeros. A device whose counts are all zero is therefore not measured.
pub(super) fn disks(files: &mut Files<'_>) -> Vec<DiskIo> {
    let mut disks: BTreeMap<DeviceId, DiskIo> = BTreeMap::new();
    for (device, operation, value) in lines(files.first(&OPERATIONS).unwrap_or_default()) {
        let disk = disks.entry(device).or_insert_with(|| DiskIo::new(device));
        match operation {
            "Read" => disk.reads = Some(value),
            "Write" => disk.writes = Some(value),
            "Discard" => disk.discards = Some(value),
            _ => {}
        }
    }
    for (device, operation, value) in lines(files.first(&BYTES).unwrap_or_default()) {
        let disk = disks.entry(device).or_insert_with(|| DiskIo::new(device));
        match operation {
            "Read" => disk.read_bytes = Some(value),
            "Write" => disk.written_bytes = Some(value),
            "Discard" => disk.discarded_bytes = Some(value),
            _ => {}
        }
    }
    disks.into_values().filter(DiskIo::is_busy).collect()
}

/// Lines of the form `8:0 Read 4096`; the sum at the end has no device and is skipped.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (DeviceId, &str, u64)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?))
    })
}
