//! Files of the v1 controllers.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::{DeviceId, DiskIo};
use super::{Memory, files};

/// Limits above this are the kernel's way to write "none": the largest multiple of the page size.
const NO_LIMIT: u64 = 1 << 62;

pub(super) fn cpu_usage_seconds(dir: &Path) -> Option<f64> {
    Some(files::number(&dir.join("cpuacct.usage"))? as f64 / 1e9)
}

pub(super) fn throttled_seconds(dir: &Path) -> Option<f64> {
    Some(files::keyed(&files::text(&dir.join("cpu.stat"))?, "throttled_time")? as f64 / 1e9)
}

/// The quota is -1 without a limit, which [`files::number`] refuses.
pub(super) fn cpu_limit_cores(dir: &Path) -> Option<f64> {
    let quota = files::number(&dir.join("cpu.cfs_quota_us"))?;
    let period = files::number(&dir.join("cpu.cfs_period_us")).filter(|period| *period > 0)?;
    Some(quota as f64 / period as f64)
}

pub(super) fn memory(dir: &Path) -> Memory {
    let stat = files::text(&dir.join("memory.stat")).unwrap_or_default();
    let rss = files::keyed(&stat, "total_rss");
    let mapped = files::keyed(&stat, "total_mapped_file");
    Memory {
        rss_bytes: rss.zip(mapped).map(|(rss, mapped)| rss + mapped),
        cache_bytes: files::keyed(&stat, "total_cache"),
        limit_bytes: files::number(&dir.join("memory.limit_in_bytes")).filter(|limit| *limit <= NO_LIMIT),
    }
}

/// Operations and bytes as the throttling layer counts them, the cgroups below included.
pub(super) fn disks(dir: &Path) -> Vec<DiskIo> {
    let mut disks = BTreeMap::new();
    let read = |name: &str| {
        files::text(&dir.join(format!("{name}_recursive"))).or_else(|| files::text(&dir.join(name)))
    };
    for (device, operation, value) in lines(&read("blkio.throttle.io_serviced").unwrap_or_default()) {
        let disk: &mut DiskIo = disks.entry(device).or_insert_with(|| DiskIo::new(device));
        match operation {
            "Read" => disk.reads = Some(value),
            "Write" => disk.writes = Some(value),
            _ => {}
        }
    }
    for (device, operation, value) in lines(&read("blkio.throttle.io_service_bytes").unwrap_or_default()) {
        let disk = disks.entry(device).or_insert_with(|| DiskIo::new(device));
        match operation {
            "Read" => disk.read_bytes = Some(value),
            "Write" => disk.written_bytes = Some(value),
            _ => {}
        }
    }
    disks.into_values().filter(DiskIo::is_measured).collect()
}

/// Lines of the form `8:0 Read 4096`; the sum at the end has no device and is skipped.
fn lines(text: &str) -> impl Iterator<Item = (DeviceId, &str, u64)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?))
    })
}
