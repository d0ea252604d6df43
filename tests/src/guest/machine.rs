//! The machine: mounts, modules, the loopback interface, power.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};
use rustix::system::{RebootCommand, finit_module, reboot};

use super::hierarchy;

/// Type and place of every file system that the agent looks at.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
];

/// Mounts, loads modules and brings the loopback interface up.
///
/// # Errors
/// Names the first thing that does not work.
pub fn set_up() -> Result<()> {
    for (kind, place) in MOUNTS {
        // Directories of sysfs exist or cannot be made: the mount says which.
        let _ = fs::create_dir_all(place);
        match mount(*kind, *place, *kind, MountFlags::empty(), None::<&CStr>) {
            // The kernel itself mounts devtmpfs when it is configured to.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("mount {kind} on {place}")),
        }
    }
    hierarchy::mount_all()?;
    let modules = fs::read_to_string("/etc/modules").unwrap_or_default();
    modules.lines().try_for_each(|module| load_module(Path::new(module)))?;
    bring_loopback_up()
}

fn load_module(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    match finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("load {}", path.display())),
    }
}

/// Sets `IFF_UP` on interface 1 of this network namespace, which is always the loopback, by a netlink message of its
/// own: the guest has no tool for it. Layout: `rtnetlink(7)`, `struct nlmsghdr` and `struct ifinfomsg`.
///
/// # Errors
/// When the kernel refuses.
pub fn bring_loopback_up() -> Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    const LOOPBACK: u32 = 1;
    let mut message = Vec::new();
    message.extend_from_slice(&32u32.to_ne_bytes()); // length of both headers
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence and port
    message.extend_from_slice(&[0; 4]); // family, padding, type
    message.extend_from_slice(&LOOPBACK.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes()); // the flags to change
    // NETLINK_ROUTE is protocol 0, the default.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .context("open a netlink socket")?;
    send(&socket, &message, SendFlags::empty()).context("bring the loopback interface up").map(drop)
}

/// Switches the machine off.
pub fn power_off() -> ! {
    rustix::fs::sync();
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        println!("power off: {error}");
    }
    // The end of PID 1 is a kernel panic, which ends the machine too.
    std::process::exit(1)
}
