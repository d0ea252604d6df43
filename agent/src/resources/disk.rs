//! Names of devices.

use std::collections::HashMap;
use std::path::Path;

use super::files;
use crate::model::DeviceId;

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

    /// The device behind a path below `/dev`. The device mapper's paths have names of their own, which sysfs knows.
    pub(super) fn device_at(&self, path: &str, sys: &Path) -> Option<DeviceId> {
        let name = path.strip_prefix("/dev/")?;
        let Some(mapped) = name.strip_prefix("mapper/") else { return self.device(name) };
        let is_it = |disk: &str| {
            let named = files::text(&sys.join("block").join(disk).join("dm/name"));
            named.is_some_and(|named| named.trim_end() == mapped)
        };
        let mut mapper = self.0.iter().filter(|(_, disk)| disk.starts_with("dm-"));
        mapper.find(|(_, disk)| is_it(disk)).map(|(device, _)| *device)
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
    fn the_device_mappers_names_are_in_sysfs() {
        let sys = tempfile::tempdir().unwrap();
        for (disk, name) in [("dm-0", "luks-8a1f\n"), ("dm-1", "vg-root\n")] {
            std::fs::create_dir_all(sys.path().join("block").join(disk).join("dm")).unwrap();
            std::fs::write(sys.path().join("block").join(disk).join("dm/name"), name).unwrap();
        }
        let names = DiskNames::parse(" 253 0 dm-0 1\n 253 1 dm-1 1\n 8 1 sda1 1\n");
        let at = |path| names.device_at(path, sys.path());
        assert_eq!(at("/dev/mapper/vg-root"), Some(device("253:1")));
        assert_eq!(at("/dev/sda1"), Some(device("8:1")));
        assert_eq!((at("/dev/mapper/none"), at("tmpfs")), (None, None));
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
