//! Disks, from `/proc/diskstats`.

use std::path::Path;

use procfs::FromRead;

/// What a disk did since boot.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// Name: `sda`, `nvme0n1`, `dm-0`.
    pub device: Box<str>,
    /// Completed reads.
    pub reads: u64,
    /// Completed writes.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Time spent by all reads together.
    pub read_seconds: f64,
    /// Time spent by all writes together.
    pub write_seconds: f64,
    /// Time with requests in flight.
    pub io_seconds: f64,
}

/// `/proc/diskstats` counts in sectors of this size, whatever the disk's own sectors are.
const SECTOR_BYTES: u64 = 512;

/// Disks shown; a storage node with several paths to each of a hundred disks has some 500.
const MAX_DISKS: usize = 1024;

/// The disks, and the number of those above the bound.
pub(super) fn read(path: &Path) -> Option<(Vec<Disk>, usize)> {
    let stats = procfs::DiskStats::from_file(path).ok()?;
    let disks = stats.0.into_iter().filter(|disk| is_disk(&disk.name)).map(|disk| Disk {
        reads: disk.reads,
        writes: disk.writes,
        read_bytes: disk.sectors_read.saturating_mul(SECTOR_BYTES),
        written_bytes: disk.sectors_written.saturating_mul(SECTOR_BYTES),
        read_seconds: disk.time_reading as f64 / 1e3,
        write_seconds: disk.time_writing as f64 / 1e3,
        io_seconds: disk.time_in_progress as f64 / 1e3,
        device: disk.name.into(),
    });
    let mut disks: Vec<Disk> = disks.collect();
    let hidden = disks.len().saturating_sub(MAX_DISKS);
    disks.truncate(MAX_DISKS);
    Some((disks, hidden))
}

/// Whole disks, with what is built of them, but no partitions, loop devices or RAM disks.
fn is_disk(name: &str) -> bool {
    let numbered = |prefix: &str| name.strip_prefix(prefix).is_some_and(is_number);
    let lettered = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| (1..=3).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_lowercase()))
    };
    let nvme = || {
        let (controller, namespace) = name.strip_prefix("nvme")?.split_once('n')?;
        (is_number(controller) && is_number(namespace)).then_some(())
    };
    ["dm-", "md", "mmcblk", "rbd"].into_iter().any(numbered)
        || ["sd", "hd", "xvd", "vd"].into_iter().any(lettered)
        || nvme().is_some()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_told_from_partitions() {
        for name in
            ["sda", "sdaa", "hda", "vdb", "xvda", "dm-0", "md127", "mmcblk0", "nvme0n1", "nvme10n2", "rbd3"]
        {
            assert!(is_disk(name), "{name}");
        }
        for name in [
            "sda1",
            "nvme0n1p1",
            "mmcblk0p1",
            "loop0",
            "ram0",
            "zram0",
            "sr0",
            "fd0",
            "dm-",
            "sd",
            "nvme0",
            "",
        ] {
            assert!(!is_disk(name), "{name}");
        }
    }
}
