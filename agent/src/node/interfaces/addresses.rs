//! Which interface has which address, from the text files of a network namespace.
//!
//! They name the interface of IPv6 addresses only. An IPv4 address belongs to the interface with the narrowest network
//! that is directly connected and holds it. Clouds give a node an address without such a network (`/32`, the gateway
//! by a route of its own): then the address from which the kernel reaches the gateway belongs to the interface of the
//! default route. Other addresses without a network (of services, of loopback) are not told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::ops::ControlFlow;
use std::path::Path;

use crate::enrich::netns;
use crate::resources::files;

/// `RTF_GATEWAY` of `include/uapi/linux/route.h`.
const RTF_GATEWAY: u32 = 2;

/// Addresses with their interfaces, without those that are valid on the link only. `source_towards` tells from which
/// address the kernel would reach another one.
pub(super) fn read(
    net: &Path,
    source_towards: impl FnOnce(Ipv4Addr) -> Option<Ipv4Addr>,
) -> Vec<(String, IpAddr)> {
    let local = netns::local_v4(&net.join("fib_trie")).unwrap_or_default();
    let is_shown = |address: &Ipv4Addr| !address.is_link_local() && !address.is_loopback();
    let mut homes = Homes {
        of: local.into_iter().filter(is_shown).map(|address| (address, None)).collect(),
        default: None,
    };
    // Without routes there is no interface to name.
    let _ = files::lines(&net.join("route"), netns::MAX_BYTES, |line| {
        if let Some(route) = Route::parse(line) {
            homes.take(&route);
        }
        ControlFlow::Continue(())
    });
    homes.settle_default(source_towards);
    let v4 = homes.of.into_iter().filter_map(|(address, home)| Some((home?.0, IpAddr::V4(address))));
    let v6 = netns::interface_v6(&net.join("if_inet6")).into_iter();
    let v6 = v6.filter(|(_, address)| !address.is_unicast_link_local() && !address.is_loopback());
    v4.chain(v6.map(|(name, address)| (name, IpAddr::V6(address)))).collect()
}

/// The kernel's choice in the agent's own namespace; the caller knows whether it is an address of process 1's. A socket
/// for datagrams sends nothing when it is connected.
pub(super) fn source_towards(address: Ipv4Addr) -> Option<Ipv4Addr> {
    const DISCARD: u16 = 9;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((address, DISCARD)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(source) => Some(source),
        IpAddr::V6(_) => None,
    }
}

/// A line of `/proc/net/route`.
struct Route<'a> {
    interface: &'a str,
    destination: Ipv4Addr,
    gateway: Ipv4Addr,
    flags: u32,
    metric: u32,
    mask: Ipv4Addr,
}

impl<'a> Route<'a> {
    /// Columns are interface, destination, gateway, flags, two counters, metric and mask.
    fn parse(line: &'a str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
        let &[interface, destination, gateway, flags, _, _, metric, mask] = words.as_slice() else {
            return None;
        };
        // The kernel shows addresses as numbers in its own byte order.
        let address = |digits| Some(Ipv4Addr::from(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes()));
        Some(Self {
            interface,
            destination: address(destination)?,
            gateway: address(gateway)?,
            flags: u32::from_str_radix(flags, 16).ok()?,
            metric: metric.parse().ok()?,
            mask: address(mask)?,
        })
    }
}

/// The default route as far as it was found.
struct Default {
    interface: String,
    gateway: Ipv4Addr,
    metric: u32,
}

/// Local addresses with the interface and the mask of the narrowest network so far.
struct Homes {
    of: BTreeMap<Ipv4Addr, Option<(String, Ipv4Addr)>>,
    default: Option<Default>,
}

impl Homes {
    fn take(&mut self, route: &Route<'_>) {
        if route.mask.is_unspecified() {
            if self.default.as_ref().is_none_or(|known| route.metric < known.metric) {
                let interface = route.interface.to_owned();
                self.default = Some(Default { interface, gateway: route.gateway, metric: route.metric });
            }
            return;
        }
        if route.flags & RTF_GATEWAY != 0 {
            return;
        }
        // A network lies in one range of addresses.
        let first = route.destination & route.mask;
        for (_, home) in self.of.range_mut(first..=(first | !route.mask)) {
            if home.as_ref().is_none_or(|(_, mask)| *mask < route.mask) {
                *home = Some((route.interface.to_owned(), route.mask));
            }
        }
    }

    /// Gives the interface of the default route its address when no network does.
    fn settle_default(&mut self, source_towards: impl FnOnce(Ipv4Addr) -> Option<Ipv4Addr>) {
        let Some(Default { interface, gateway, .. }) = self.default.take() else { return };
        let has_address = self.of.values().flatten().any(|(name, _)| *name == interface);
        if has_address || gateway.is_unspecified() {
            return;
        }
        let mut homeless = self.of.iter().filter(|(_, home)| home.is_none()).map(|(address, _)| *address);
        let only = homeless.next().filter(|_| homeless.next().is_none());
        let source =
            source_towards(gateway).filter(|source| self.of.get(source).is_some_and(Option::is_none));
        if let Some(address) = source.or(only) {
            self.of.insert(address, Some((interface, Ipv4Addr::BROADCAST)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    /// A cloud's node: the default route by 10.128.0.1, that by a route of its own, and a bridge of containers.
    const CLOUD: &str = "\
ens4\t00000000\t0100800A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
ens4\t0100800A\t00000000\t0005\t0\t0\t100\tFFFFFFFF\t0\t0\t0\n\
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";

    fn of(local: &[&str], routes: &str, source: Option<&str>) -> Vec<(String, String)> {
        let net = tempfile::tempdir().unwrap();
        let leaf = |address: &&str| format!("|-- {address}\n   /32 host LOCAL\n");
        fs::write(net.path().join("fib_trie"), local.iter().map(leaf).collect::<String>()).unwrap();
        fs::write(net.path().join("route"), format!("{HEAD}{routes}")).unwrap();
        let source = source.map(|source| source.parse().unwrap());
        let found = read(net.path(), |gateway| {
            assert_eq!(gateway, Ipv4Addr::new(10, 128, 0, 1));
            source
        });
        found.into_iter().map(|(name, address)| (name, address.to_string())).collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(name, address)| (name.to_owned(), address.to_owned())).to_vec()
    }

    #[test]
    fn an_address_without_a_network_is_on_the_default_route() {
        const NODE: (&str, &str) = ("ens4", "10.128.0.2");
        const BRIDGE: (&str, &str) = ("docker0", "172.17.0.1");
        let local = ["10.128.0.2", "127.0.0.1", "172.17.0.1"];
        assert_eq!(of(&local, CLOUD, None), pairs([NODE, BRIDGE]), "there is but one");
        let with_service = ["10.0.0.10", "10.128.0.2", "127.0.0.1", "172.17.0.1"];
        assert_eq!(of(&with_service, CLOUD, Some("10.128.0.2")), pairs([NODE, BRIDGE]));
        assert_eq!(of(&with_service, CLOUD, None), pairs([BRIDGE]), "either could be it");
        assert_eq!(of(&with_service, CLOUD, Some("172.17.0.1")), pairs([BRIDGE]), "of another namespace");
    }

    #[test]
    fn a_default_route_whose_interface_has_an_address_gets_no_other() {
        let connected = format!("{CLOUD}ens4\t0000800A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n");
        let local = ["10.0.0.10", "10.128.0.2"];
        assert_eq!(of(&local, &connected, Some("10.0.0.10")), pairs([("ens4", "10.128.0.2")]));
    }

    #[test]
    fn connecting_a_socket_tells_the_source() {
        assert_eq!(source_towards(Ipv4Addr::LOCALHOST), Some(Ipv4Addr::LOCALHOST));
    }
}
