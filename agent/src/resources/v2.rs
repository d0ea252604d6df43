//! Files of the unified hierarchy.

use std::path::Path;

use super::disk::{DeviceId, DiskIo};
use super::{Cpu, Memory, files};

pub(super) fn cpu(dir: &Path) -> Cpu {
    let stat = files::text(&dir.join("cpu.stat")).unwrap_or_default();
    let seconds = |key| files::keyed(&stat, key).map(|micros| micros as f64 / 1e6);
    Cpu {
        usage_seconds: seconds("usage_usec"),
        throttled_seconds: seconds("throttled_usec"),
        limit_cores: limit_cores(dir),
    }
}

/// `cpu.max` holds quota and period; the quota is `max` without a limit.
fn limit_cores(dir: &Path) -> Option<f64> {
    let text = files::text(&dir.join("cpu.max"))?;
    let mut words = text.split_ascii_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok().filter(|period| *period > 0)?;
    Some(quota as f64 / period as f64)
}

pub(super) fn memory(dir: &Path) -> Memory {
    let stat = files::text(&dir.join("memory.stat")).unwrap_or_default();
    let anonymous = files::keyed(&stat, "anon");
    let mapped = files::keyed(&stat, "file_mapped");
    Memory {
        rss_bytes: anonymous.zip(mapped).map(|(anonymous, mapped)| anonymous + mapped),
        cache_bytes: files::keyed(&stat, "file"),
        limit_bytes: files::number(&dir.join("memory.max")),
    }
}

/// Lines of the form `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. A device without I/O has no pairs.
pub(super) fn disks(dir: &Path) -> Vec<DiskIo> {
    let text = files::text(&dir.join("io.stat")).unwrap_or_default();
    let mut disks: Vec<DiskIo> = text.lines().filter_map(disk).collect();
    disks.sort_by_key(|disk| disk.device);
    disks.dedup_by_key(|disk| disk.device);
    disks
}

fn disk(line: &str) -> Option<DiskIo> {
    let mut words = line.split_ascii_whitespace();
    let device: DeviceId = words.next()?.parse().ok()?;
    let mut disk = DiskIo::new(device);
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let slot = match key {
            "rbytes" => &mut disk.read_bytes,
            "wbytes" => &mut disk.written_bytes,
            "rios" => &mut disk.reads,
            "wios" => &mut disk.writes,
            _ => continue,
        };
        *slot = value.parse().ok();
    }
    disk.is_measured().then_some(disk)
}
