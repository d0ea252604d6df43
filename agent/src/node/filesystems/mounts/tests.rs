use proptest::prelude::*;

use super::*;

/// A server with containers, a volume, a share, a snap, a read-only disk, and a path with a space.
const TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 27 0:6 / /dev rw,relatime - devtmpfs udev rw,size=12334492k
25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 23 0:28 / /sys/fs/cgroup ro,relatime - tmpfs tmpfs ro
29 27 0:30 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=100k
30 29 0:31 / /run/user/1000 rw - tmpfs tmpfs rw
41 27 254:0 /var/lib/data /srv rw,relatime - ext4 /dev/vda rw
42 27 254:16 / /mnt/a\\040disk ro,relatime - xfs /dev/vdb rw
43 27 254:32 / /var/lib/kubelet/plugins/very/long/globalmount rw - ext4 /dev/vdc rw
44 27 254:32 / /var/lib/kubelet/pods/x/volumes/y rw - ext4 /dev/vdc rw
45 27 254:48 / /old rw - ext4 /dev/vdd rw
46 27 254:64 / /old rw - ext4 /dev/vde ro,errors=remount-ro
50 27 0:50 / /share rw - nfs4 server:/export rw,vers=4.2
51 27 0:51 / /home rw - autofs /etc/auto.home rw
52 27 0:52 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw
53 27 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro
54 27 0:54 / /var/lib/kubelet/pods/x/volumes/secret rw - tmpfs tmpfs rw
55 27 0:55 /@home /data rw - btrfs /dev/vdf rw
56 27 0:55 /@ /data2 rw - btrfs /dev/vdf rw
60 27 0:60 / /mnt/fuse rw - fuse.sshfs me@host: rw
";

#[test]
fn every_file_system_is_shown_once() {
    let (mounts, overflow) = select(TABLE);
    let shown: Vec<_> = mounts
        .iter()
        .map(|mount| (&*mount.mount_point, &*mount.device, &*mount.fstype, mount.read_only, mount.is_remote))
        .collect();
    assert_eq!(
        shown,
        [
            ("/dev/shm", "tmpfs", "tmpfs", false, false),
            ("/", "/dev/vda", "ext4", false, false),
            ("/run", "tmpfs", "tmpfs", false, false),
            ("/mnt/a disk", "/dev/vdb", "xfs", true, false),
            ("/var/lib/kubelet/pods/x/volumes/y", "/dev/vdc", "ext4", false, false),
            ("/old", "/dev/vde", "ext4", true, false),
            ("/data", "/dev/vdf", "btrfs", false, false),
            ("/share", "server:/export", "nfs4", false, true),
            ("/mnt/fuse", "me@host:", "fuse.sshfs", false, true),
        ]
    );
    assert_eq!(overflow, 0);
    assert_eq!(root_id(TABLE), Some(27));
}

#[test]
fn a_root_of_layers_is_shown() {
    let (mounts, _) = select("1 0 0:40 / / rw - overlay overlay rw\n2 1 0:41 / /x rw - overlay overlay rw\n");
    assert_eq!(mounts.iter().map(|mount| &*mount.mount_point).collect::<Vec<_>>(), ["/"]);
}

#[test]
fn there_is_a_bound() {
    let table: String =
        (0..300).map(|n| format!("{n} 1 8:{n} / /mnt/{n} rw - ext4 /dev/sd{n} rw\n")).collect();
    let (mounts, overflow) = select(&table);
    assert_eq!((mounts.len(), overflow), (256, 44));
}

proptest! {
    #[test]
    fn garbage_is_harmless(text in "(?s).{0,400}", lines in proptest::collection::vec("[0-9 /:\\\\a-z,-]{0,80}", 0..8)) {
        select(&text);
        root_id(&lines.join("\n"));
        let (mounts, overflow) = select(&lines.join("\n"));
        prop_assert!(mounts.len() <= lines.len() && overflow == 0);
    }
}
