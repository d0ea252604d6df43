//! Structures whose members the programs of each feature read by offset.

use super::FeatureId;
use crate::kernel::btf::BtfError;

const TCP_LIFECYCLE: &[&str] = &[
    "sock",
    "net",
    "inet_sock",
    "tcp_sock",
    "task_struct",
    "css_set",
    "cgroup_subsys_state",
    "cgroup",
    "kernfs_node",
];
const TCP_SOCKETS: &[&str] = &[
    "file",
    "inode",
    "socket",
    "sock",
    "net",
    "tcp_sock",
    "task_struct",
    "css_set",
    "cgroup_subsys_state",
    "cgroup",
    "kernfs_node",
];
const TCP_UNFILED: &[&str] = &["socket", "sock", "net", "inet_sock", "tcp_sock"];
const TASKS: &[&str] = &["task_struct", "css_set", "cgroup_subsys_state", "cgroup", "kernfs_node"];
const DISK_IO: &[&str] = &[
    "bio",
    "bio_vec",
    "block_device",
    "gendisk",
    "task_struct",
    "css_set",
    "cgroup_subsys_state",
    "cgroup",
    "kernfs_node",
];
const RUN_QUEUE: &[&str] = &["task_struct", "cfs_rq", "rq", "css_set", "cgroup", "kernfs_node"];
const DISK_LATENCY: &[&str] = &["request", "gendisk"];
const FILES: &[&str] =
    &["file", "inode", "task_struct", "css_set", "cgroup_subsys_state", "cgroup", "kernfs_node"];
const CGROUPS: &[&str] = &["cgroup", "cgroup_root", "kernfs_node"];
const UDP_TRAFFIC: &[&str] =
    &["sock", "task_struct", "css_set", "cgroup_subsys_state", "cgroup", "kernfs_node"];
const UDP_RELEASES: &[&str] = &[
    "sock",
    "socket_alloc",
    "inode",
    "task_struct",
    "css_set",
    "cgroup_subsys_state",
    "cgroup",
    "kernfs_node",
];
const UDP_SOCKETS: &[&str] = &[
    "file",
    "inode",
    "socket",
    "sock",
    "task_struct",
    "css_set",
    "cgroup_subsys_state",
    "cgroup",
    "kernfs_node",
];

impl FeatureId {
    /// Of the members that a kernel lacks, those that its programs cannot do without.
    pub fn missing(self, missing: &[BtfError]) -> impl Iterator<Item = &BtfError> {
        let reads =
            move |error: &&BtfError| error.container().is_some_and(|name| self.structures().contains(&name));
        missing.iter().filter(reads)
    }

    /// Structures whose members its programs read by offset.
    pub const fn structures(self) -> &'static [&'static str] {
        match self {
            Self::TcpLifecycle => TCP_LIFECYCLE,
            Self::TcpSockets => TCP_SOCKETS,
            Self::TcpUnfiled => TCP_UNFILED,
            Self::ProcessTasks | Self::ProcessExits | Self::ProcessOom => TASKS,
            Self::DiskIo => DISK_IO,
            Self::RunQueue => RUN_QUEUE,
            Self::DiskLatency => DISK_LATENCY,
            Self::ProcessFiles => FILES,
            Self::CgroupDirectories => CGROUPS,
            Self::UdpTraffic => UDP_TRAFFIC,
            Self::UdpReleases => UDP_RELEASES,
            Self::UdpSockets => UDP_SOCKETS,
            Self::Drops | Self::UdpPeers | Self::DnsAnswers => &[],
        }
    }
}
