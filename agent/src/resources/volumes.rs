//! Where a container sees file systems of block devices, and what they are called.
//!
//! Only what stands on a block device counts: memory, overlays and the network have no disk to fill, and asking some of
//! them for their size may block.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::DiskNames;
use super::mountinfo::{Mount, has_option, mounts, unescape};
use crate::model::DeviceId;

/// A file system on a block device, or a part of it, where a container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Path inside the container.
    pub mount_point: Arc<str>,
    /// The number that `stat` shows for files of the file system, unless it has none of its own, as btrfs.
    pub filesystem: Option<DeviceId>,
    /// The disk under it: of a partition the whole.
    pub disk: DeviceId,
    /// Name of the persistent or named volume; empty when it has none.
    pub name: Box<str>,
    /// Whether the container may write to it.
    pub is_writable: bool,
}

/// Mounts taken of one container.
const MAX_VOLUMES: usize = 64;

/// Files that container runtimes mount from the host's disk into every container; they say nothing about its data.
const RUNTIME_FILES: [&str; 5] =
    ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log", "/etc/mtab"];

/// Volumes that the kubelet makes of what the API server knows.
const API_VOLUMES: [&str; 4] = [
    "/kubernetes.io~configmap/",
    "/kubernetes.io~secret/",
    "/kubernetes.io~projected/",
    "/kubernetes.io~downward-api/",
];

/// The volumes of a `mountinfo`, one for each mount point, of which the last mount is the one that is seen. What the
/// mount itself does not name, `name` may, by mount point and file system. Also the number of mounts above the bound.
pub fn volumes(
    mountinfo: &str,
    names: &DiskNames,
    name: impl Fn(&str, Option<DeviceId>) -> Option<Box<str>>,
) -> (Vec<Volume>, usize) {
    let (mut found, mut refused): (Vec<Volume>, usize) = (Vec::new(), 0);
    for mount in mounts(mountinfo) {
        let mount_point: Arc<str> = unescape(mount.mount_point).into();
        found.retain(|other| other.mount_point != mount_point);
        let Some((device, filesystem)) = block_device(&mount, names) else { continue };
        let is_internal = RUNTIME_FILES.contains(&&*mount_point)
            || API_VOLUMES.iter().any(|volumes| mount.root.contains(volumes));
        if is_internal {
            continue;
        }
        if found.len() >= MAX_VOLUMES {
            refused += 1;
            continue;
        }
        let own = claim(mount.source).or_else(|| claim(mount.root)).map(Into::into);
        let own = own.or_else(|| name(&mount_point, filesystem)).or_else(|| volume_of(mount.root));
        found.push(Volume {
            name: own.filter(|name| !is_anonymous(name)).unwrap_or_default(),
            disk: names.disk_of(device),
            is_writable: is_writable(&mount),
            mount_point,
            filesystem,
        });
    }
    (found, refused)
}

/// For each disk the one place that stands for it: one that the container may write to before one that it may not, then
/// the shortest path.
pub fn by_disk<'v>(volumes: impl IntoIterator<Item = &'v Volume>) -> HashMap<DeviceId, &'v Volume> {
    let mut found: HashMap<DeviceId, &Volume> = HashMap::new();
    let rank = |volume: &Volume| (!volume.is_writable, volume.mount_point.len());
    for volume in volumes {
        let known = found.entry(volume.disk).or_insert(volume);
        if rank(volume) < rank(known) {
            *known = volume;
        }
    }
    found
}

/// Names by file system of the volumes that the kubelet has mounted, from the host's `mountinfo`: inside a container the
/// path that tells the name is not seen.
pub fn kubelet_volumes(mountinfo: &str) -> HashMap<DeviceId, Box<str>> {
    let named = mounts(mountinfo).filter_map(|mount| {
        let is_whole = mount.root == "/" && mount.mount_point.contains("/kubernetes.io~");
        Some((mount.device.parse().ok().filter(|_| is_whole)?, volume_of(mount.mount_point)?))
    });
    named.collect()
}

/// The volume that a directory of the host belongs to, where its path tells: `…/volumes/<name>/_data` of Docker, podman
/// and nerdctl; `…/volumes/kubernetes.io~<kind>/<name>` of the kubelet.
fn volume_of(path: &str) -> Option<Box<str>> {
    let (_, below) = path.rsplit_once("/volumes/")?;
    let name = match below.strip_suffix("/_data") {
        Some(path) => path.rsplit('/').next()?,
        // A directory that goes with the pod is no volume to a user.
        None if below.starts_with("kubernetes.io~empty-dir/") => return None,
        None => below.split_once('~')?.1.split('/').nth(1)?,
    };
    (!name.is_empty()).then(|| name.into())
}

/// `pvc-<uuid>`, the name that a provisioner gives to the volume of a claim, wherever it stands.
fn claim(source: &str) -> Option<&str> {
    const UUID: usize = 36;
    let start = source.find("pvc-")?;
    let uuid = source.get(start + 4..start + 4 + UUID)?;
    let valid = uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    valid.then(|| &source[start..start + 4 + UUID])
}

/// Docker names a volume that nobody named by 64 random digits, anew for each container.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The block device, and the number of the file system when it is the same. btrfs has a number that is no device's,
/// but its source is one.
fn block_device(mount: &Mount<'_>, names: &DiskNames) -> Option<(DeviceId, Option<DeviceId>)> {
    match mount.device.parse().ok().filter(|device| names.name(*device).is_some()) {
        Some(device) => Some((device, Some(device))),
        None => Some((names.device_at(mount.source, Path::new("/sys"))?, None)),
    }
}

fn is_writable(mount: &Mount<'_>) -> bool {
    has_option(mount.options, "rw") && has_option(mount.super_options, "rw")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DISKSTATS: &str = "   8       0 sda 1 0 0 0\n   8       1 sda1 1 0 0 0\n 259       0 nvme0n1 1 0\n \
                             259       2 nvme0n1p2 1 0\n 253       0 dm-0 1 0\n   8      16 sdb 1 0 0 0\n";
    const CLAIM: &str = "pvc-8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e";

    fn device(text: &str) -> DeviceId {
        text.parse().unwrap()
    }

    fn of(mountinfo: &str) -> Vec<Volume> {
        all_of(mountinfo).0
    }

    fn all_of(mountinfo: &str) -> (Vec<Volume>, usize) {
        volumes(mountinfo, &DiskNames::parse(DISKSTATS), |_, _| None)
    }

    #[test]
    fn mounts_of_runtimes_and_drivers() {
        let plain = |path: &str| (path.to_owned(), "sda", String::new(), true);
        let named = |path: &str, name: &str| (path.to_owned(), "sda", name.to_owned(), true);
        let anonymous = "0123456789abcdef".repeat(4);
        let cases = [
            ("0:50 / / rw - overlay overlay rw,lowerdir=/x", None),
            ("0:51 / /dev/shm rw - tmpfs shm rw", None),
            ("0:52 / /mnt/nfs rw - nfs4 server:/export rw", None),
            ("0:53 / /mnt/fuse rw - fuse.sshfs me@host: rw", None),
            ("8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw", None),
            (
                "8:1 /var/lib/kubelet/pods/x/volumes/kubernetes.io~configmap/c/f /etc/f rw - ext4 /dev/sda1 rw",
                None,
            ),
            ("8:1 /srv/my\\040data /my\\040data rw - ext4 /dev/sda1 rw", Some(plain("/my data"))),
            ("8:1 /srv /a\\043b rw - ext4 /dev/sda1 rw", Some(plain("/a#b"))),
            ("8:1 /srv /data ro - ext4 /dev/sda1 rw", Some(("/data".into(), "sda", String::new(), false))),
            ("8:1 /srv /data rw - ext4 /dev/sda1 ro", Some(("/data".into(), "sda", String::new(), false))),
            ("8:1 /var/lib/docker/volumes/pg/_data /d rw - ext4 /dev/sda1 rw", Some(named("/d", "pg"))),
            ("8:1 /volumes/pg/_data /d rw shared:1 master:2 - ext4 /dev/sda1 rw", Some(named("/d", "pg"))),
            (&format!("8:1 /volumes/{anonymous}/_data /d rw - ext4 /dev/sda1 rw"), Some(plain("/d"))),
            ("8:1 /pods/x/volumes/kubernetes.io~empty-dir/cache /c rw - xfs /dev/sda1 rw", Some(plain("/c"))),
            (
                &format!("8:1 /pods/x/volumes/kubernetes.io~csi/{CLAIM}/mount /c rw - xfs /dev/sda1 rw"),
                Some(named("/c", CLAIM)),
            ),
            (
                &format!("253:0 / /pv rw shared:1 - ext4 /dev/mapper/{CLAIM} rw"),
                Some(("/pv".into(), "dm-0", CLAIM.to_owned(), true)),
            ),
            (
                "0:60 /@data /b rw - btrfs /dev/nvme0n1p2 rw",
                Some(("/b".into(), "nvme0n1", String::new(), true)),
            ),
            ("0:61 / /z rw - zfs pool/data rw", None),
            ("8:1 /x /x rw ext4 /dev/sda1 rw", None),
        ];
        let names = DiskNames::parse(DISKSTATS);
        for (mount, expected) in cases {
            let found = of(&format!("100 99 {mount}\n"));
            let found: Vec<_> = found
                .iter()
                .map(|volume| {
                    let disk = names.name(volume.disk).unwrap();
                    (volume.mount_point.to_string(), disk, volume.name.to_string(), volume.is_writable)
                })
                .collect();
            assert_eq!(found, Vec::from_iter(expected), "{mount}");
        }
    }

    #[test]
    fn the_last_mount_at_a_place_is_the_one_that_is_seen() {
        let mountinfo = "1 1 8:1 / /data rw - ext4 /dev/sda1 rw\n2 1 8:16 / /data rw - ext4 /dev/sdb rw\n";
        let found = of(mountinfo);
        assert_eq!((found.len(), found[0].disk), (1, device("8:16")));
        let hidden = format!("{mountinfo}3 1 0:9 / /data rw - tmpfs tmpfs rw\n");
        assert_eq!(of(&hidden), [], "a file system in memory lies over it");
    }

    #[test]
    fn one_place_stands_for_a_disk() {
        let found =
            of("1 1 8:1 /a /x ro - ext4 /dev/sda1 rw\n2 1 8:1 /b /data/deep rw - ext4 /dev/sda1 rw\n\
                        3 1 8:1 /c /data rw - ext4 /dev/sda1 rw\n4 1 8:16 / /r ro - ext4 /dev/sdb rw\n");
        let places: HashMap<_, _> =
            by_disk(&found).into_iter().map(|(disk, volume)| (disk, &*volume.mount_point)).collect();
        assert_eq!(places, HashMap::from([(device("8:0"), "/data"), (device("8:16"), "/r")]));
    }

    #[test]
    fn what_the_mount_does_not_name_the_kubelet_or_the_runtime_does() {
        let host = "1 1 8:16 / /var/lib/kubelet/pods/8a/volumes/kubernetes.io~csi/static-pv/mount rw - ext4 /dev/sdb rw\n\
                    2 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    3 1 8:1 /d /var/lib/kubelet/pods/8a/volumes/kubernetes.io~local-volume/part rw - ext4 /dev/sda1 rw\n";
        let known = kubelet_volumes(host);
        assert_eq!(known, HashMap::from([(device("8:16"), "static-pv".into())]));
        let mountinfo = "1 1 8:16 / /data rw - ext4 /dev/sdb rw\n2 1 8:1 /x /logs rw - ext4 /dev/sda1 rw\n";
        let (found, _) = volumes(mountinfo, &DiskNames::parse(DISKSTATS), |path, filesystem| {
            let told = (path == "/logs").then(|| "named".into());
            told.or_else(|| known.get(&filesystem?).cloned())
        });
        let names: Vec<_> = found.iter().map(|volume| &*volume.name).collect();
        assert_eq!(names, ["static-pv", "named"]);
    }

    #[test]
    fn a_container_with_thousands_of_mounts_has_a_bounded_number() {
        let mountinfo: String =
            (0..1000).map(|number| format!("1 1 8:1 / /m{number} rw - ext4 /dev/sda1 rw\n")).collect();
        let (found, refused) = all_of(&mountinfo);
        assert_eq!((found.len(), refused), (MAX_VOLUMES, 1000 - MAX_VOLUMES));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "([a-z0-9/:~ -]{0,20}( - | 8:1 |/volumes/|/_data|pvc-|\\\\040|é|\n)){0,20}") {
            prop_assert!(of(&text).len() <= MAX_VOLUMES);
            kubelet_volumes(&text);
        }
    }
}
