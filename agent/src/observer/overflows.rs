//! Asks network namespaces how often accept queues overflowed in them, each by a process that is in it.

use std::ops::ControlFlow;
use std::path::Path;

use crate::enrich::netns;
use crate::model::{BootNanos, HostPid, NetnsId};
use crate::resources::files;
use crate::state::Connections;

/// The file has two long lines per table, some 6 KiB in all.
const MAX_BYTES: u64 = 64 * 1024;

/// Asks those where something was dropped since the last pass. The kernel answers at once.
pub fn read(connections: &mut Connections, proc_root: &Path, now: BootNanos) {
    let ask = |(netns, holders): (NetnsId, Vec<HostPid>)| {
        (netns, holders.into_iter().find_map(|pid| total(proc_root, netns, pid)))
    };
    let answers: Vec<_> = connections.overflow_questions().into_iter().map(ask).collect();
    connections.answer_overflows(answers, now);
}

/// The count of a namespace, if the process is in it.
fn total(proc_root: &Path, netns: NetnsId, pid: HostPid) -> Option<u64> {
    let netstat = || listen_overflows(&proc_root.join(pid.0.to_string()).join("net/netstat"));
    netns::is_in(proc_root, pid, netns).then(netstat).flatten()
}

/// `ListenOverflows` of the table `TcpExt`: a line of names, and below it one of numbers.
fn listen_overflows(netstat: &Path) -> Option<u64> {
    let (mut position, mut found) = (None, None);
    files::lines(netstat, MAX_BYTES, |line| {
        let Some(words) = line.strip_prefix("TcpExt:") else { return ControlFlow::Continue(()) };
        let mut words = words.split_ascii_whitespace();
        let Some(column) = position else {
            position = words.position(|name| name == "ListenOverflows");
            return if position.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        };
        found = words.nth(column).and_then(|number| number.parse().ok());
        ControlFlow::Break(())
    })
    .ok()?;
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_count_is_believed_only_of_a_process_in_the_namespace() {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("7");
        fs::create_dir_all(process.join("net")).unwrap();
        fs::create_dir_all(process.join("ns/net")).unwrap();
        let text =
            "IpExt: ListenOverflows\nIpExt: 9\nTcpExt: Other ListenOverflows ListenDrops\nTcpExt: 1 23 45\n";
        fs::write(process.join("net/netstat"), text).unwrap();
        let netns = u32::try_from(fs::metadata(process.join("ns/net")).unwrap().ino()).unwrap();
        assert_eq!(total(root.path(), NetnsId(netns), HostPid(7)), Some(23));
        assert_eq!(total(root.path(), NetnsId(netns.wrapping_add(1)), HostPid(7)), None);
        assert_eq!(total(root.path(), NetnsId(netns), HostPid(8)), None);
        for text in [
            "",
            "TcpExt: Other\nTcpExt: 1\n",
            "TcpExt: ListenOverflows\nTcpExt: x\n",
            "TcpExt: ListenOverflows\n",
        ] {
            fs::write(process.join("net/netstat"), text).unwrap();
            assert_eq!(total(root.path(), NetnsId(netns), HostPid(7)), None, "{text}");
        }
    }

    #[test]
    fn the_kernel_tells_this_process() {
        let netns = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let netns = NetnsId(u32::try_from(netns).unwrap());
        assert!(total(Path::new("/proc"), netns, HostPid(std::process::id())).is_some());
    }
}
