//! Devices: their I/O and their names.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use super::files;

/// Major and minor number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    /// Driver.
    pub major: u32,
    /// Device of the driver.
    pub minor: u32,
}

impl FromStr for DeviceId {
    type Err = ();

    /// Reads `8:0`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once(':').ok_or(())?;
        Ok(Self { major: major.parse().map_err(|_| ())?, minor: minor.parse().map_err(|_| ())? })
    }
}

/// I/O of a cgroup on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskIo {
    /// Device.
    pub device: DeviceId,
    /// Completed reads.
    pub reads: Option<u64>,
    /// Completed writes.
    pub writes: Option<u64>,
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub written_bytes: Option<u64>,
    /// Completed discards.
    pub discards: Option<u64>,
    /// Bytes discarded.
    pub discarded_bytes: Option<u64>,
}

impl DiskIo {
    /// A device of which nothing is measured yet.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            reads: None,
            writes: None,
            read_bytes: None,
            written_bytes: None,
            discards: None,
            discarded_bytes: None,
        }
    }

    fn values(&self) -> [Option<u64>; 6] {
        let Self { reads, writes, read_bytes, written_bytes, discards, discarded_bytes, .. } = *self;
        [reads, writes, read_bytes, written_bytes, discards, discarded_bytes]
    }

    pub(super) fn is_measured(&self) -> bool {
        self.values().iter().any(Option::is_some)
    }

    /// Whether it was written to.
    pub fn has_written(&self) -> bool {
        self.writes.or(self.written_bytes).is_some_and(|count| count > 0)
    }

    /// Whether anything was counted.
    pub(super) fn is_busy(&self) -> bool {
        self.values().into_iter().flatten().any(|value| value > 0)
    }
}

/// Names of the block devices, from `/proc/diskstats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskNames(HashMap<DeviceId, Box<str>>);

impl DiskNames {
    /// Reads the names. Without the file there are none.
    pub fn read(proc_root: &Path) -> Self {
        Self::parse(&files::text(&proc_root.join("diskstats")).unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Self {
        let entries = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let device = DeviceId { major: words.next()?.parse().ok()?, minor: words.next()?.parse().ok()? };
            Some((device, words.next()?.into()))
        });
        Self(entries.collect())
    }

    /// Whether no device is known, as where the file cannot be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a device: `sda`, `dm-0`.
    pub fn name(&self, device: DeviceId) -> Option<&str> {
        self.0.get(&device).map(|name| &**name)
    }

    /// The device with a name.
    pub(super) fn device(&self, name: &str) -> Option<DeviceId> {
        self.0.iter().find(|(_, known)| &***known == name).map(|(device, _)| *device)
    }

    /// The disk that a device is a partition of, or the device itself: cgroups count by disk, mounts name partitions.
    pub fn disk_of(&self, device: DeviceId) -> DeviceId {
        let Some(disk) = self.name(device).and_then(disk_name) else { return device };
        self.device(disk).unwrap_or(device)
    }
}

/// `sda1` is of `sda`; `nvme0n1p1` and `mmcblk0p1`, whose names end in a digit, separate the number by a `p`.
fn disk_name(name: &str) -> Option<&str> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() || stem.is_empty() {
        return None;
    }
    match stem.strip_suffix('p') {
        Some(disk) if disk.ends_with(|c: char| c.is_ascii_digit()) => Some(disk),
        _ => Some(stem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISKSTATS: &str = "   8       0 sda 1 0 0 0\n   8       1 sda1 1 0 0 0\n 259       0 nvme0n1 1 0\n \
                             259       2 nvme0n1p2 1 0\n 253       0 dm-0 1 0\n";

    fn device(text: &str) -> DeviceId {
        text.parse().unwrap()
    }

    #[test]
    fn partitions_belong_to_their_disks() {
        let names = DiskNames::parse(DISKSTATS);
        for (partition, disk) in
            [("8:1", "8:0"), ("259:2", "259:0"), ("253:0", "253:0"), ("8:0", "8:0"), ("7:7", "7:7")]
        {
            assert_eq!(names.disk_of(device(partition)), device(disk), "{partition}");
        }
        assert_eq!(names.name(device("259:2")), Some("nvme0n1p2"));
    }

    #[test]
    fn device_numbers_are_checked() {
        for text in ["", "8", "8:", ":0", "a:b", "8:0:1"] {
            assert_eq!(text.parse::<DeviceId>(), Err(()), "{text:?}");
        }
    }
}
