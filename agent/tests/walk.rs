//! The walk over open files on the running kernel, which hands its rows over a few pages at a time: what changes between
//! two of these is the middle of a walk.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where the value is missing")]

#[path = "../src/skip.rs"]
mod skip;

use std::fs;
use std::net::TcpListener;
use std::process;
use std::sync::Arc;

use sonde_agent::kernel::{FeatureId, Kernel, Options, Unwanted};
use sonde_agent::pace::Pace;
use sonde_agent::probes::tcp;

/// Their rows fill several of the kernel's buffers.
const SOCKETS: usize = 800;
/// The name of the process.
const COMM: &str = "/proc/self/comm";

#[test]
fn a_process_that_begins_another_program_in_the_middle_of_a_walk_is_read_again() {
    if !rustix::process::geteuid().is_root() {
        return skip::record("not root");
    }
    let mut kernel = Kernel::open(&only(FeatureId::TcpSockets));
    assert!(kernel.has(FeatureId::TcpSockets), "{:?}", kernel.features());
    let _sockets: Vec<_> = (0..SOCKETS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    fs::write(COMM, "before").unwrap();
    let mut names = Vec::new();
    kernel
        .files(&mut Pace::new(Arc::default()), |row| {
            let Ok(socket) = tcp::decode(row) else { return };
            let Some(origin) = socket.origin.filter(|origin| origin.pid.0 == process::id()) else { return };
            if names.is_empty() {
                fs::write(COMM, "after").unwrap();
            }
            names.push(origin.comm);
        })
        .unwrap();
    let changed = names.iter().position(|name| &**name == "after").unwrap_or(names.len());
    assert_eq!(names.len(), SOCKETS, "every socket has a row");
    assert!(changed > 0, "the first row was written before the name changed");
    assert!(changed < SOCKETS / 2, "{changed} of {SOCKETS} sockets have the old name");
    assert!(names[changed..].iter().all(|name| &**name == "after"), "the old name came back");
}

/// Everything turned off but one feature.
fn only(feature: FeatureId) -> Options {
    let others = FeatureId::ALL.iter().copied().filter(|id| *id != feature);
    Options {
        btf: "/sys/kernel/btf/vmlinux".into(),
        cgroup_v1: false,
        cgroup_v2: None,
        disabled: others.map(|id| (id, Unwanted::Disabled)).collect(),
        statistics: false,
        refused: Vec::new(),
    }
}
