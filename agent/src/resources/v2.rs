//! Files of the unified hierarchy.

use super::files::{Files, pairs};
use super::{Cpu, Memory, MemoryEvents, Tasks};
use crate::model::{DeviceId, DiskIo};

/// Time used; also there where the controller itself is in a v1 hierarchy.
pub(super) fn cpu(files: &mut Files<'_>) -> Cpu {
    let mut cpu = Cpu::default();
    for (key, value) in pairs(files.text("cpu.stat").unwrap_or_default()) {
        let seconds = Some(value as f64 / 1e6);
        match key {
            "usage_usec" => cpu.usage_seconds = seconds,
            "user_usec" => cpu.user_seconds = seconds,
            "system_usec" => cpu.system_seconds = seconds,
            "throttled_usec" => cpu.throttled_seconds = seconds,
            "nr_periods" => cpu.periods = Some(value),
            "nr_throttled" => cpu.throttled_periods = Some(value),
            _ => {}
        }
    }
    cpu.limit_cores = files.text("cpu.max").and_then(limit_cores);
    cpu
}

/// `cpu.max` holds quota and period; the quota is `max` without a limit.
fn limit_cores(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok().filter(|period| *period > 0)?;
    Some(quota as f64 / period as f64)
}

/// Memory of the group itself; the limits of those around it are the caller's to find.
pub(super) fn memory(files: &mut Files<'_>) -> Memory {
    let mut memory = Memory::default();
    let (mut anonymous, mut mapped, mut inactive_file) = (None, None, None);
    for (key, value) in pairs(files.text("memory.stat").unwrap_or_default()) {
        match key {
            "anon" => anonymous = Some(value),
            "file_mapped" => mapped = Some(value),
            "file" => memory.cache_bytes = Some(value),
            "inactive_file" => inactive_file = Some(value),
            "pgmajfault" => memory.major_faults = Some(value),
            _ => {}
        }
    }
    memory.rss_bytes = anonymous.zip(mapped).map(|(anonymous, mapped)| anonymous + mapped);
    memory.working_set_bytes = super::working_set(files.number("memory.current"), inactive_file);
    memory.limit_bytes = memory_limit(files);
    memory.swap_bytes = files.number("memory.swap.current");
    memory.swap_limit_bytes = files.number("memory.swap.max");
    memory.events = events(files.text("memory.events").unwrap_or_default());
    memory
}

/// The limit of one group, its own or one around another.
pub(super) fn memory_limit(files: &mut Files<'_>) -> Option<u64> {
    files.number("memory.max")
}

/// Counts include the groups below.
fn events(text: &str) -> MemoryEvents {
    let mut events = MemoryEvents::default();
    for (key, value) in pairs(text) {
        match key {
            "high" => events.high = Some(value),
            "max" => events.max = Some(value),
            "oom" => events.oom = Some(value),
            "oom_kill" => events.oom_kill = Some(value),
            _ => {}
        }
    }
    events
}

pub(super) fn tasks(files: &mut Files<'_>) -> Tasks {
    Tasks { current: files.number("pids.current"), limit: files.number("pids.max") }
}

/// Lines of the form `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. A device without I/O has no pairs; from Linux 5.15
/// to 5.18 it has no line end either, so that several devices stand before the pairs of the last.
pub(super) fn disks(files: &mut Files<'_>) -> Vec<DiskIo> {
    let text = files.text("io.stat").unwrap_or_default();
    let mut disks: Vec<DiskIo> = text.lines().filter_map(disk).collect();
    disks.sort_by_key(|disk| disk.device);
    disks.dedup_by_key(|disk| disk.device);
    disks
}

fn disk(line: &str) -> Option<DiskIo> {
    let names = line.split_ascii_whitespace().take_while(|word| !word.contains('='));
    let device: DeviceId = names.last()?.parse().ok()?;
    let mut disk = DiskIo::new(device);
    for (key, value) in line.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
        let slot = match key {
            "rbytes" => &mut disk.read_bytes,
            "wbytes" => &mut disk.written_bytes,
            "dbytes" => &mut disk.discarded_bytes,
            "rios" => &mut disk.reads,
            "wios" => &mut disk.writes,
            "dios" => &mut disk.discards,
            _ => continue,
        };
        *slot = value.parse().ok();
    }
    disk.is_measured().then_some(disk)
}
