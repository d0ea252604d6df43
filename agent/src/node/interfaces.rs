//! Network interfaces of process 1's namespace.

mod addresses;
mod speeds;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use procfs::FromRead;
use procfs::net::InterfaceDeviceStatus;

use crate::enrich::netns;
use crate::model::NetnsId;

pub(super) use speeds::Speeds;

/// What an interface did since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: Box<str>,
    /// Whether it is up; `None` where sysfs does not show it.
    pub is_up: Option<bool>,
    /// Its addresses, without those that are valid on the link only.
    pub addresses: Vec<IpAddr>,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Bad packets received.
    pub receive_errors: u64,
    /// Packets that could not be sent.
    pub send_errors: u64,
    /// Packets received and dropped.
    pub receive_drops: u64,
    /// Packets dropped instead of sent.
    pub send_drops: u64,
    /// Bytes per second that the link is good for; `None` where the driver does not know.
    pub speed_bytes: Option<u64>,
}

/// Interfaces shown; a bridge or a bond for every tenant of a large router stays below.
const MAX_INTERFACES: usize = 512;

/// Beginnings of the names of interfaces that lead out of the machine, before a number: `eth0`, `br0`, `p1p1`. The inner
/// ends (`lo`, `veth…`, `cali…`, `docker0`, `br-<network>`) would show the same bytes again.
const NUMBERED: [&str; 9] = ["eth", "em", "bond", "team", "br", "vmbr", "ib", "venet", "p"];

/// The same, before what systemd makes of the place of the card: `enp0s3`, `wlan0`.
const PLACED: [&str; 3] = ["en", "wl", "ww"];

/// `IFF_UP` of `include/uapi/linux/if.h`.
const IFF_UP: u32 = 1;

/// The interfaces by name, without their speeds, and the number of those above the bound.
pub(super) fn read(proc_root: &Path, sysfs: Option<&Path>) -> Option<(Vec<Interface>, usize)> {
    let status = InterfaceDeviceStatus::from_file(proc_root.join("1/net/dev")).ok()?;
    let addresses = addresses::read(&proc_root.join("1/net"), addresses::source_towards);
    let mut interfaces: Vec<_> = status
        .0
        .into_values()
        .filter(|device| is_shown(&device.name))
        .map(|device| Interface {
            is_up: sysfs.and_then(|sysfs| is_up(&sysfs.join(&device.name))),
            speed_bytes: None,
            addresses: addresses
                .iter()
                .filter(|(name, _)| *name == device.name)
                .map(|(_, address)| *address)
                .collect(),
            received_bytes: device.recv_bytes,
            received_packets: device.recv_packets,
            sent_bytes: device.sent_bytes,
            sent_packets: device.sent_packets,
            receive_errors: device.recv_errs,
            send_errors: device.sent_errs,
            receive_drops: device.recv_drop,
            send_drops: device.sent_drop,
            name: device.name.into(),
        })
        .collect();
    interfaces.sort_by(|one, other| one.name.cmp(&other.name));
    let hidden = interfaces.len().saturating_sub(MAX_INTERFACES);
    interfaces.truncate(MAX_INTERFACES);
    Some((interfaces, hidden))
}

/// The addresses of the network namespace at `net` that belong to an interface other than the one of services.
pub fn placed(net: &Path) -> Vec<IpAddr> {
    let told = addresses::read(net, addresses::source_towards).into_iter();
    told.filter(|(interface, _)| interface != netns::OF_SERVICES).map(|(_, address)| address).collect()
}

/// The host's network namespace: process 1's, or the agent's own where that is closed to it and both are one.
pub fn host_netns(proc_root: &Path) -> Option<NetnsId> {
    let own = || netns::id_at(&proc_root.join("self")).filter(|_| shares_namespace(proc_root));
    netns::id_at(&proc_root.join("1")).or_else(own)
}

/// The directory of interfaces that shows those of process 1. A sysfs shows the network namespace of whoever mounted it:
/// process 1's shows the host's, and the agent's own does when both share a namespace.
pub(super) fn sysfs(proc_root: &Path) -> Option<PathBuf> {
    let host = proc_root.join("1/root/sys/class/net");
    if host.is_dir() {
        return Some(host);
    }
    shares_namespace(proc_root).then(|| PathBuf::from("/sys/class/net"))
}

/// Whether the agent is in process 1's network namespace. Where the names of namespaces are closed, the same local
/// addresses say so: no two namespaces of a machine have them.
pub(super) fn shares_namespace(proc_root: &Path) -> bool {
    let name = |process: &str| fs::read_link(proc_root.join(process).join("ns/net")).ok();
    match (name("self"), name("1")) {
        (Some(own), Some(host)) => own == host,
        _ => {
            let local = |process: &str| netns::local_v4(&proc_root.join(process).join("net/fib_trie")).ok();
            local("self").is_some_and(|own| Some(own) == local("1"))
        }
    }
}

fn is_shown(name: &str) -> bool {
    let is_numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    NUMBERED.iter().any(|prefix| is_numbered(prefix)) || PLACED.iter().any(|prefix| name.starts_with(prefix))
}

/// Some drivers never tell an operational state; then the administrative one counts.
fn is_up(directory: &Path) -> Option<bool> {
    let state = fs::read_to_string(directory.join("operstate")).ok()?;
    if state.trim() != "unknown" {
        return Some(state.trim() == "up");
    }
    let flags = fs::read_to_string(directory.join("flags")).ok()?;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
    Some(flags & IFF_UP != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_that_lead_out_are_shown() {
        for name in ["eth0", "ens3", "enp0s31f6", "bond0", "br0", "vmbr1", "wlan0", "p1p1"] {
            assert!(is_shown(name), "{name}");
        }
        for name in ["lo", "veth8c7a95c", "docker0", "cali123", "ppp0", "ifb0", "tun0", "br-0a1b2c3d4e5f"] {
            assert!(!is_shown(name), "{name}");
        }
    }
}
