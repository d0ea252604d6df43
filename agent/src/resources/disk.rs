//! Devices: their I/O, their names, and where a container sees them mounted.

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

    fn parse(text: &str) -> Self {
        let entries = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let device = DeviceId { major: words.next()?.parse().ok()?, minor: words.next()?.parse().ok()? };
            Some((device, words.next()?.into()))
        });
        Self(entries.collect())
    }

    /// The name of a device: `sda`, `dm-0`.
    pub fn name(&self, device: DeviceId) -> Option<&str> {
        self.0.get(&device).map(|name| &**name)
    }

    /// The disk that a device is a partition of, or the device itself: cgroups count by disk, mounts name partitions.
    pub fn disk_of(&self, device: DeviceId) -> DeviceId {
        let Some(disk) = self.name(device).and_then(disk_name) else { return device };
        let found = self.0.iter().find(|(_, name)| ***name == *disk);
        found.map_or(device, |(disk, _)| *disk)
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

/// Where a disk is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// Path inside the container.
    pub path: Box<str>,
    /// Name of the persistent volume, `pvc-<uuid>`, when the source names one.
    pub volume: Box<str>,
}

/// Files that container runtimes mount from the host's disk into every container; they say nothing about its data.
const RUNTIME_FILES: [&str; 4] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"];

/// For each disk the shortest path at which a `mountinfo` shows it, the files of the runtime left out.
pub fn mount_points(mountinfo: &str, names: &DiskNames) -> HashMap<DeviceId, MountPoint> {
    let mut found: HashMap<DeviceId, MountPoint> = HashMap::new();
    for line in mountinfo.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(Ok(device)), Some(root), Some(path)) =
            (words.get(2).map(|word| word.parse()), words.get(3), words.get(4))
        else {
            continue;
        };
        if RUNTIME_FILES.contains(path) || names.name(device).is_none() {
            continue;
        }
        let disk = names.disk_of(device);
        let path = unescape(path);
        if found.get(&disk).is_none_or(|other| path.len() < other.path.len()) {
            let source = words.iter().position(|word| *word == "-").and_then(|dash| words.get(dash + 2));
            let volume = source.and_then(|source| volume_name(source)).or_else(|| volume_name(root));
            let volume = volume.unwrap_or_default().into();
            found.insert(disk, MountPoint { path, volume });
        }
    }
    found
}

fn volume_name(source: &str) -> Option<&str> {
    const UUID: usize = 36;
    let start = source.find("pvc-")?;
    let uuid = source.get(start + 4..start + 4 + UUID)?;
    let valid = uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    valid.then(|| &source[start..start + 4 + UUID])
}

/// The kernel writes space, tab, newline and backslash in octal.
fn unescape(path: &str) -> Box<str> {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\").into()
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
    fn the_shortest_mount_of_each_disk_is_taken() {
        let mountinfo = "\
100 99 0:50 / / rw - overlay overlay rw\n\
101 100 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n\
102 100 8:1 /v/_data /data/deep rw - ext4 /dev/sda1 rw\n\
103 100 8:1 /v/_data /my\\040data rw - ext4 /dev/sda1 rw\n\
104 100 253:0 / /pv rw shared:1 - ext4 /dev/mapper/pvc-8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e rw\n\
malformed\n";
        let found = mount_points(mountinfo, &DiskNames::parse(DISKSTATS));
        assert_eq!(found.len(), 2);
        assert_eq!(found[&device("8:0")], MountPoint { path: "/my data".into(), volume: "".into() });
        assert_eq!(
            found[&device("253:0")],
            MountPoint { path: "/pv".into(), volume: "pvc-8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e".into() }
        );
    }

    #[test]
    fn device_numbers_are_checked() {
        for text in ["", "8", "8:", ":0", "a:b", "8:0:1"] {
            assert_eq!(text.parse::<DeviceId>(), Err(()), "{text:?}");
        }
    }
}
