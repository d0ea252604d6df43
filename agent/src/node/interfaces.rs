//! Network interfaces of process 1's namespace.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use procfs::FromRead;
use procfs::net::{InterfaceDeviceStatus, RouteEntries};

use crate::enrich::netns;

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
}

/// Beginnings of the names of interfaces that lead out of the machine, before a number: `eth0`, `br0`, `p1p1`. The inner
/// ends (`lo`, `veth…`, `cali…`, `docker0`, `br-<network>`) would show the same bytes again.
const NUMBERED: [&str; 9] = ["eth", "em", "bond", "team", "br", "vmbr", "ib", "venet", "p"];

/// The same, before what systemd makes of the place of the card: `enp0s3`, `wlan0`.
const PLACED: [&str; 3] = ["en", "wl", "ww"];

/// `IFF_UP` of `include/uapi/linux/if.h`.
const IFF_UP: u32 = 1;

/// `RTF_GATEWAY` of `include/uapi/linux/route.h`.
const RTF_GATEWAY: u16 = 2;

pub(super) fn read(proc_root: &Path, dev: &Path) -> Option<Vec<Interface>> {
    let status = InterfaceDeviceStatus::from_file(dev).ok()?;
    let addresses = addresses(proc_root);
    // A sysfs shows the network namespace of whoever mounted it, so process 1's shows the host's interfaces.
    let sysfs = super::host_root(proc_root).join("sys/class/net");
    let mut interfaces: Vec<_> = status
        .0
        .into_values()
        .filter(|device| is_shown(&device.name))
        .map(|device| Interface {
            is_up: is_up(&sysfs.join(&device.name)),
            addresses: addresses
                .iter()
                .filter(|(name, _)| *name == device.name)
                .map(|(_, address)| *address)
                .collect(),
            received_bytes: device.recv_bytes,
            received_packets: device.recv_packets,
            sent_bytes: device.sent_bytes,
            sent_packets: device.sent_packets,
            name: device.name.into(),
        })
        .collect();
    interfaces.sort_by(|one, other| one.name.cmp(&other.name));
    Some(interfaces)
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

/// Addresses with their interfaces. The kernel's text files name the interface of IPv6 addresses; of an IPv4 address it
/// is the one of the narrowest network that is directly connected and holds it.
fn addresses(proc_root: &Path) -> Vec<(String, IpAddr)> {
    let net = proc_root.join("1/net");
    let fib_trie = fs::read_to_string(net.join("fib_trie")).unwrap_or_default();
    let routes = RouteEntries::from_file(net.join("route")).map(|routes| routes.0).unwrap_or_default();
    let if_inet6 = fs::read_to_string(net.join("if_inet6")).unwrap_or_default();
    let v4 = netns::local_v4(&fib_trie).into_iter().filter(|address| !address.is_link_local());
    let v6 = netns::interface_v6(&if_inet6).filter(|(_, address)| !address.is_unicast_link_local());
    let interface_of = |address: Ipv4Addr| {
        let connected = routes.iter().filter(|route| route.flags & RTF_GATEWAY == 0);
        let holding = connected.filter(|route| address & route.mask == route.destination & route.mask);
        holding.max_by_key(|route| route.mask.to_bits()).map(|route| route.iface.clone())
    };
    v4.filter_map(|address| Some((interface_of(address)?, IpAddr::V4(address))))
        .chain(v6.map(|(name, address)| (name.to_owned(), IpAddr::V6(address))))
        .collect()
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
