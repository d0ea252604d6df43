//! Addresses of a process' network namespace, which turn a listener on all addresses into the ones it has.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::{HostPid, NetnsId};
use crate::resources::files;

/// Addresses that are looked at in one namespace; with kube-proxy's IPVS mode a node has one for each service.
const MAX_ADDRESSES: usize = 32_768;

/// What is read of one of the files below: 4 MiB hold some 70,000 routes, and every address stands among them twice.
pub(crate) const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Whether a process is in a network namespace. Who holds a socket may be elsewhere: some proxies make their listeners in
/// the namespaces of others.
pub fn is_in(proc_root: &Path, pid: HostPid, netns: NetnsId) -> bool {
    id_at(&proc_root.join(pid.0.to_string())) == Some(netns)
}

/// The network namespace of the process with this directory, unless it is gone or closed to the agent.
pub fn id_at(process: &Path) -> Option<NetnsId> {
    let link = fs::metadata(process.join("ns/net")).ok()?;
    u32::try_from(link.ino()).ok().map(NetnsId)
}

/// The local addresses of the network namespace of a process under which others may reach it: none that are valid on one
/// link only, as each end of a pair to a container has one; none of the device on which kube-proxy's IPVS mode collects
/// the addresses of all services, where `placed` tells those that have a place on another one.
///
/// # Errors
/// As [`local_addresses`].
pub fn reachable_addresses(
    proc_root: &Path,
    pid: HostPid,
    placed: impl FnOnce(&Path) -> Vec<IpAddr>,
) -> io::Result<Vec<IpAddr>> {
    let mut found = local_addresses(proc_root, pid)?;
    found.retain(|address| match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    });
    let net = proc_root.join(pid.0.to_string()).join("net");
    if has_interface(&net.join("dev"), OF_SERVICES) {
        let placed = placed(&net);
        found.retain(|address| address.is_loopback() || placed.contains(address));
    }
    Ok(found)
}

/// The device of kube-proxy's IPVS mode.
pub(crate) const OF_SERVICES: &str = "kube-ipvs0";

/// Whether `/proc/<pid>/net/dev` has an interface: lines are `name: numbers`.
fn has_interface(dev: &Path, name: &str) -> bool {
    let mut has = false;
    // Without the file there is none.
    let _ = files::lines(dev, MAX_BYTES, |line| {
        has = line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        if has { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    has
}

/// The local addresses of the network namespace of a process, in order, IPv4 first. Of a namespace with more routes or
/// addresses than are looked at, those that were found.
///
/// # Errors
/// When the process is gone or closed to the agent. A kernel without IPv6 has no such file, which is no error.
pub fn local_addresses(proc_root: &Path, pid: HostPid) -> io::Result<Vec<IpAddr>> {
    let net = proc_root.join(pid.0.to_string()).join("net");
    let v4 = local_v4(&net.join("fib_trie"))?;
    let v6: BTreeSet<Ipv6Addr> =
        interface_v6(&net.join("if_inet6")).into_iter().map(|(_, address)| address).collect();
    Ok(v4.into_iter().map(IpAddr::V4).chain(v6.into_iter().map(IpAddr::V6)).take(MAX_ADDRESSES).collect())
}

/// The addresses of `fib_trie`: leaves `|-- <address>` that are followed by a line `/32 host LOCAL`.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn local_v4(fib_trie: &Path) -> io::Result<BTreeSet<Ipv4Addr>> {
    let mut found = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    files::lines(fib_trie, MAX_BYTES, |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(leaf);
        }
        if found.len() < MAX_ADDRESSES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}

/// The lines of `if_inet6` as interface and address: 32 hexadecimal digits, then index, prefix length, scope, flags
/// and the interface's name. Without the file there are none.
pub(crate) fn interface_v6(if_inet6: &Path) -> Vec<(String, Ipv6Addr)> {
    let mut found = Vec::new();
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let digits = words.next().filter(|digits| digits.len() == 32)?;
        let address = u128::from_str_radix(digits, 16).ok()?;
        Some((words.nth(4)?.to_owned(), Ipv6Addr::from(address)))
    };
    // A kernel without IPv6 has no such file.
    let _ = files::lines(if_inet6, MAX_BYTES, |line| {
        found.extend(parse(line));
        if found.len() < MAX_ADDRESSES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.7
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
Local:
     |-- 10.0.0.7
        /32 host LOCAL
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
";

    #[test]
    fn both_families_are_read() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("5/net")).unwrap();
        fs::write(root.path().join("5/net/fib_trie"), FIB_TRIE).unwrap();
        let of = || local_addresses(root.path(), HostPid(5)).unwrap();
        assert_eq!(of(), ["10.0.0.7", "127.0.0.1"].map(|text| text.parse::<IpAddr>().unwrap()));
        let if_inet6 = "fd000000000000000000000000000002 02 40 00 80     eth0\n\
                        00000000000000000000000000000001 01 80 10 80       lo\nbad line\n";
        fs::write(root.path().join("5/net/if_inet6"), if_inet6).unwrap();
        let expected = ["10.0.0.7", "127.0.0.1", "::1", "fd00::2"];
        assert_eq!(of(), expected.map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(interface_v6(&root.path().join("5/net/if_inet6"))[0].0, "eth0");
    }

    #[test]
    fn addresses_of_a_link_and_of_services_are_not_where_others_reach_it() {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("5/net");
        fs::create_dir_all(&net).unwrap();
        let local = |address: &str| format!("     |-- {address}\n        /32 host LOCAL\n");
        let addresses = ["10.0.0.7", "10.96.0.10", "127.0.0.1", "169.254.20.10"];
        fs::write(net.join("fib_trie"), addresses.map(local).concat()).unwrap();
        let if_inet6 = "fe80000000000000c8f2fffffe5a1b2c 05 40 20 80  veth1a2b\n\
                        fd000000000000000000000000000002 02 40 00 80     eth0\n";
        fs::write(net.join("if_inet6"), if_inet6).unwrap();
        let of = || {
            let placed = |_: &Path| vec!["10.0.0.7".parse().unwrap(), "fd00::2".parse().unwrap()];
            let found = reachable_addresses(root.path(), HostPid(5), placed).unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(), ["10.0.0.7", "10.96.0.10", "127.0.0.1", "fd00::2"]);
        let dev = "Inter-|   Receive\n face |bytes\n    lo: 1 2\nkube-ipvs01: 0\n";
        fs::write(net.join("dev"), dev).unwrap();
        assert_eq!(of().len(), 4, "another device");
        fs::write(net.join("dev"), format!("{dev}kube-ipvs0:       0\n")).unwrap();
        assert_eq!(of(), ["10.0.0.7", "127.0.0.1", "fd00::2"]);
    }

    #[test]
    fn a_namespace_of_any_size_is_read_so_far_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("fib_trie");
        let leaf = |number: u32| format!("|-- {}\n   /32 host LOCAL\n", Ipv4Addr::from(0x0a00_0000 + number));
        fs::write(&path, (0..40_000).map(leaf).collect::<String>()).unwrap();
        assert_eq!(local_v4(&path).unwrap().len(), MAX_ADDRESSES);
        let route = "|-- 10.0.0.0\n   /24 universe UNICAST\n";
        let routes = route.repeat(MAX_BYTES as usize / route.len() + 1);
        fs::write(&path, leaf(1) + &routes + &leaf(2)).unwrap();
        assert_eq!(local_v4(&path).unwrap(), BTreeSet::from([Ipv4Addr::new(10, 0, 0, 1)]));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(local_addresses(root.path(), HostPid(5)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_live_machine_has_a_loopback() {
        let found = local_addresses(Path::new("/proc"), HostPid(std::process::id())).unwrap();
        assert!(found.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{found:?}");
    }
}
