//! Capabilities of the agent's process: which it has, which it needs, and for what.

use std::fs;

/// A capability the agent makes use of.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// Name.
    pub name: &'static str,
    /// Bit in the masks of `/proc/<pid>/status`, include/uapi/linux/capability.h.
    pub bit: u32,
    /// What it is for.
    pub why: &'static str,
}

const SYS_ADMIN: u32 = 21;

/// Everything the agent asks for.
pub const NEEDED: [Capability; 6] = [
    Capability { name: "CAP_BPF", bit: 39, why: "create maps and load programs" },
    Capability { name: "CAP_PERFMON", bit: 38, why: "attach to tracepoints and read kernel structures" },
    Capability {
        name: "CAP_NET_ADMIN",
        bit: 12,
        why: "ask connection tracking where connections lead; see DNS answers, ends of UDP sockets and UDP by zone",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        why: "read the executable and the namespaces of other users' processes",
    },
    Capability { name: "CAP_DAC_READ_SEARCH", bit: 2, why: "read files below /proc/<pid> of other users" },
    Capability { name: "CAP_SYSLOG", bit: 34, why: "read the kernel's symbols (not used yet)" },
];

/// The effective set, or `None` when it cannot be read.
pub fn effective() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Whether the process holds a capability, by its bit; `true` when that cannot be read.
pub fn holds(bit: u32) -> bool {
    effective().is_none_or(|effective| effective & (1 << bit) != 0)
}

/// Capabilities of [`NEEDED`] that the process lacks.
pub fn missing() -> Vec<Capability> {
    let effective = effective().unwrap_or(u64::MAX);
    NEEDED.into_iter().filter(|capability| effective & (1 << capability.bit) == 0).collect()
}

/// Names of what loading and attaching a tracing program needs and the process lacks. CAP_SYS_ADMIN stands for both.
pub fn missing_for_tracing() -> Vec<&'static str> {
    let effective = effective().unwrap_or(u64::MAX);
    if effective & (1 << SYS_ADMIN) != 0 {
        return Vec::new();
    }
    missing_of(&["CAP_BPF", "CAP_PERFMON"])
}

/// Names of what a program at a cgroup needs and the process lacks. The networking part is asked for by itself.
pub fn missing_for_cgroups() -> Vec<&'static str> {
    missing_for_tracing().into_iter().chain(missing_of(&["CAP_NET_ADMIN"])).collect()
}

fn missing_of(names: &[&str]) -> Vec<&'static str> {
    missing().into_iter().map(|capability| capability.name).filter(|name| names.contains(name)).collect()
}
