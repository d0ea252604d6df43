//! Features, their chains of choices, and verdicts.

mod structures;

use std::fmt;

use serde::Serialize;
use sonde_abi::files::{ROWS_COUNT, ROWS_TCP, ROWS_UDP};

use super::{Options, btf::Hook};

/// Something the kernel half can do, by itself useful to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum FeatureId {
    /// Connects, failures, accepts, listens and closes as they happen.
    TcpLifecycle,
    /// Open sockets with owners and counters.
    TcpSockets,
    /// Open sockets that no file leads to.
    TcpUnfiled,
    /// Processes with their cgroups.
    ProcessTasks,
    /// Open files by process.
    ProcessFiles,
    /// What threads that end had waited.
    ProcessExits,
    /// Victims of the OOM killer.
    ProcessOom,
    /// I/O by owner and disk, where cgroup files do not count it.
    DiskIo,
    /// Waiting for a CPU by cgroup.
    RunQueue,
    /// Requests by disk.
    DiskLatency,
    /// Dropped packets by reason.
    Drops,
    /// Cgroups as they come and go.
    CgroupDirectories,
    /// What each process sends and receives over UDP.
    UdpTraffic,
    /// What the node sends and receives over UDP, by the other end.
    UdpPeers,
    /// What open UDP sockets dropped.
    UdpSockets,
    /// What closed UDP sockets dropped.
    UdpReleases,
    /// DNS answers as they arrive.
    DnsAnswers,
}

/// A way to have a feature: a program of the object at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// `tp_btf`: programs and the BTF tracepoints they attach to.
    BtfTracepoints(&'static [(&'static str, &'static str)]),
    /// A plain tracepoint: program, category, name.
    Tracepoint(&'static str, &'static str, &'static str),
    /// An iterator: program and target. Features that name the same one share its walk.
    Iterator(&'static str, &'static str),
    /// The same with a program that reads all memory by helper calls, for kernels that lack a typed way.
    ProbingIterator(&'static str, &'static str),
    /// `fexit`: programs named as the functions at whose end they run.
    FunctionExits(&'static [&'static str]),
    /// Programs at the root of the unified cgroup hierarchy.
    CgroupRoot {
        /// The programs.
        programs: &'static [&'static str],
        /// The hook as people know it.
        hook: &'static str,
        /// Whether they read kernel structures, beside what their context tells.
        reads_structures: bool,
    },
}

/// The walk over all open files, which serves several features.
const FILES: &[Choice] =
    &[Choice::Iterator("file_iter", "task_file"), Choice::ProbingIterator("file_iter_probed", "task_file")];

impl FeatureId {
    /// All features, in the order they are loaded and shown.
    pub const ALL: &'static [Self] = &[
        Self::TcpLifecycle,
        Self::TcpSockets,
        Self::TcpUnfiled,
        Self::ProcessTasks,
        Self::ProcessFiles,
        Self::ProcessExits,
        Self::ProcessOom,
        Self::DiskIo,
        Self::RunQueue,
        Self::DiskLatency,
        Self::Drops,
        Self::CgroupDirectories,
        Self::UdpTraffic,
        Self::UdpPeers,
        Self::UdpSockets,
        Self::UdpReleases,
        Self::DnsAnswers,
    ];

    /// The probe that configuration names, and the feature's own name within it.
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::TcpLifecycle => ("tcp", "lifecycle"),
            Self::TcpSockets => ("tcp", "sockets"),
            Self::TcpUnfiled => ("tcp", "unfiled"),
            Self::ProcessTasks => ("process", "tasks"),
            Self::ProcessFiles => ("process", "files"),
            Self::ProcessExits => ("process", "exits"),
            Self::ProcessOom => ("process", "oom"),
            Self::DiskIo => ("block", "io"),
            Self::RunQueue => ("runqueue", "latency"),
            Self::DiskLatency => ("block-latency", "requests"),
            Self::Drops => ("drops", "reasons"),
            Self::CgroupDirectories => ("cgroup", "directories"),
            Self::UdpTraffic => ("udp", "traffic"),
            Self::UdpPeers => ("udp", "peers"),
            Self::UdpSockets => ("udp", "sockets"),
            Self::UdpReleases => ("udp", "releases"),
            Self::DnsAnswers => ("dns", "answers"),
        }
    }

    /// The choices, best first.
    pub const fn chain(self) -> &'static [Choice] {
        match self {
            Self::TcpLifecycle => &[
                Choice::BtfTracepoints(&[("tcp_state", "inet_sock_set_state")]),
                Choice::Tracepoint("tcp_state_tp", "sock", "inet_sock_set_state"),
            ],
            Self::TcpSockets | Self::UdpSockets | Self::ProcessFiles => FILES,
            Self::TcpUnfiled => &[Choice::Iterator("tcp_iter", "tcp")],
            Self::ProcessTasks => &[Choice::Iterator("task_iter", "task")],
            Self::ProcessExits => &[Choice::BtfTracepoints(&[("task_exit", "sched_process_exit")])],
            Self::ProcessOom => &[
                Choice::BtfTracepoints(&[("oom_victim", "mark_victim")]),
                Choice::BtfTracepoints(&[
                    ("oom_victim_pid", "mark_victim"),
                    ("oom_victim_end", "sched_process_exit"),
                ]),
            ],
            Self::DiskIo => &[
                Choice::BtfTracepoints(&[("bio_queue", "block_bio_queue")]),
                Choice::BtfTracepoints(&[("bio_queue_of", "block_bio_queue")]),
            ],
            Self::RunQueue => &[Choice::BtfTracepoints(&[("sched_latency", "sched_switch")])],
            Self::DiskLatency => &[
                Choice::BtfTracepoints(&[("disk_latency", "block_io_done")]),
                Choice::BtfTracepoints(&[("disk_latency_rq", "block_rq_complete")]),
            ],
            Self::Drops => &[Choice::BtfTracepoints(&[("skb_drop", "kfree_skb")])],
            Self::CgroupDirectories => &[Choice::BtfTracepoints(&[
                ("cgroup_mkdir", "cgroup_mkdir"),
                ("cgroup_rmdir", "cgroup_rmdir"),
            ])],
            Self::UdpTraffic => &[
                Choice::FunctionExits(&["udp_sendmsg", "udpv6_sendmsg", "udp_recvmsg", "udpv6_recvmsg"]),
                Choice::BtfTracepoints(&[
                    ("udp_send_length", "sock_send_length"),
                    ("udp_recv_length", "sock_recv_length"),
                ]),
                Choice::CgroupRoot {
                    programs: &["udp_egress", "udp_ingress"],
                    hook: "cgroup_skb",
                    reads_structures: false,
                },
            ],
            Self::UdpPeers => &[Choice::CgroupRoot {
                programs: &["udp_peers_egress", "udp_peers_ingress"],
                hook: "cgroup_skb",
                reads_structures: false,
            }],
            Self::UdpReleases => &[Choice::CgroupRoot {
                programs: &["udp_release"],
                hook: "cgroup/sock_release",
                reads_structures: true,
            }],
            Self::DnsAnswers => &[Choice::CgroupRoot {
                programs: &["dns_ingress"],
                hook: "cgroup_skb/ingress",
                reads_structures: false,
            }],
        }
    }

    /// What it wants the walk over open files to show: one of `sonde_abi::files::ROWS_*`, or nothing.
    pub const fn file_rows(self) -> u32 {
        match self {
            Self::TcpSockets => ROWS_TCP,
            Self::UdpSockets => ROWS_UDP,
            Self::ProcessFiles => ROWS_COUNT,
            _ => 0,
        }
    }

    /// Whether it is given up when its programs take more CPU than they may.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::RunQueue | Self::DiskLatency | Self::Drops)
    }

    /// Its programs, whichever choice is taken.
    pub fn programs(self) -> impl Iterator<Item = &'static str> {
        self.chain().iter().flat_map(Choice::programs)
    }

    /// What a user misses without it.
    pub const fn without(self) -> &'static str {
        match self {
            Self::TcpLifecycle => "TCP connections are not counted",
            Self::TcpSockets => {
                "bytes and retransmits are not seen before a connection's end, connections older than the agent not at all"
            }
            Self::TcpUnfiled => {
                "bytes of connections that no open file leads to, as the kernel's own to a file server, are not seen before their end, and those older than the agent not at all"
            }
            Self::ProcessTasks => "processes are listed from /proc instead",
            Self::ProcessFiles => "open files and sockets are not counted",
            Self::ProcessExits => "what threads waited between the last pass and their end is not counted",
            Self::ProcessOom => "OOM kills are taken from cgroup files, where there are any",
            Self::DiskIo => "disk I/O of containers is not counted",
            Self::RunQueue => "there are no histograms of waiting for a CPU",
            Self::DiskLatency => "there are no histograms of requests to disks",
            Self::Drops => "the reasons for dropped packets are not counted",
            Self::CgroupDirectories => "containers that live shorter than a rescan may stay unnamed",
            Self::UdpTraffic => "UDP traffic is not counted",
            Self::UdpPeers => "the node's traffic by zone has no UDP in it",
            Self::UdpSockets => "datagrams that open sockets drop are not counted",
            Self::UdpReleases => "datagrams that a socket drops just before its end are not counted",
            Self::DnsAnswers => "addresses have no names",
        }
    }
}

impl Choice {
    /// The programs that must all be attached for it.
    pub fn programs(&self) -> Vec<&'static str> {
        match *self {
            Self::BtfTracepoints(programs) => programs.iter().map(|(program, _)| *program).collect(),
            Self::Tracepoint(program, ..)
            | Self::Iterator(program, _)
            | Self::ProbingIterator(program, _) => vec![program],
            Self::FunctionExits(programs) | Self::CgroupRoot { programs, .. } => programs.to_vec(),
        }
    }
}

impl fmt::Display for FeatureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (probe, feature) = self.names();
        write!(f, "{probe}/{feature}")
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BtfTracepoints(programs) => {
                let hooks: Vec<&str> = programs.iter().map(|(_, hook)| *hook).collect();
                write!(f, "tp_btf/{}", hooks.join("+"))
            }
            Self::Tracepoint(_, category, name) => write!(f, "tracepoint/{category}/{name}"),
            Self::Iterator(_, target) => write!(f, "iter/{target}"),
            Self::ProbingIterator(_, target) => write!(f, "iter/{target} by probed reads"),
            Self::FunctionExits(functions) => write!(f, "fexit/{}", functions.join("+")),
            Self::CgroupRoot { hook, .. } => f.write_str(hook),
        }
    }
}

/// Every hook that is looked up in the kernel's types.
pub fn hooks() -> Vec<Hook> {
    let hooks = |choice: &Choice| match choice {
        Choice::BtfTracepoints(programs) => programs.iter().map(|(_, hook)| Hook::Tracepoint(hook)).collect(),
        Choice::Iterator(_, target) | Choice::ProbingIterator(_, target) => vec![Hook::Iterator(target)],
        Choice::FunctionExits(functions) => functions.iter().map(|name| Hook::Function(name)).collect(),
        Choice::Tracepoint(..) | Choice::CgroupRoot { .. } => Vec::new(),
    };
    FeatureId::ALL.iter().flat_map(|id| id.chain()).flat_map(hooks).collect()
}

/// What became of a feature on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It works.
    Ok {
        /// The choice taken.
        choice: String,
        /// Better choices that failed before it, with their reasons.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        refused: Vec<String>,
    },
    /// This kernel does not have it.
    Unsupported {
        /// The kernel's reason.
        reason: String,
    },
    /// It should work, but something is in the way: a missing capability, a refusal by the verifier.
    Broken {
        /// The kernel's reason.
        reason: String,
    },
    /// Configuration turned it off.
    Disabled,
    /// It is left out, though nobody turned it off.
    #[serde(rename = "disabled")]
    Unwanted {
        /// Why: it is optional, or something else does the same here for less.
        reason: String,
    },
}

impl Verdict {
    /// All names, for a metric's label.
    pub const NAMES: [&'static str; 4] = ["ok", "unsupported", "broken", "disabled"];

    /// The value of the `verdict` label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok { .. } => "ok",
            Self::Unsupported { .. } => "unsupported",
            Self::Broken { .. } => "broken",
            Self::Disabled | Self::Unwanted { .. } => "disabled",
        }
    }

    /// Whether it works.
    pub const fn is_ok(&self) -> bool {
        matches!(self, Self::Ok { .. })
    }

    /// The choice taken, if any.
    pub fn choice(&self) -> Option<&str> {
        match self {
            Self::Ok { choice, .. } => Some(choice),
            _ => None,
        }
    }

    /// The choice taken, or the reason why there is none.
    pub fn detail(&self) -> String {
        match self {
            Self::Ok { choice, refused } if refused.is_empty() => choice.clone(),
            Self::Ok { choice, refused } => format!("{choice} (not {})", refused.join("; not ")),
            Self::Unsupported { reason } | Self::Broken { reason } | Self::Unwanted { reason } => {
                reason.clone()
            }
            Self::Disabled => "turned off by configuration".to_owned(),
        }
    }
}

/// A feature and its verdict.
#[derive(Clone, Debug, Serialize)]
pub struct FeatureStatus {
    /// The feature.
    #[serde(skip)]
    pub id: FeatureId,
    /// `probe/feature`.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What is missing without it; only when it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<&'static str>,
}

impl FeatureStatus {
    /// Pairs a feature with its verdict.
    pub fn new(id: FeatureId, verdict: Verdict) -> Self {
        let without = (!verdict.is_ok()).then(|| id.without());
        Self { id, name: id.to_string(), verdict, without }
    }
}

/// Verdicts for the case that nothing could be loaded at all.
pub fn all_broken(options: &Options, reason: &str) -> Vec<FeatureStatus> {
    let verdict = |id: FeatureId| match options.disabled(id) {
        Some(unwanted) => unwanted.verdict(),
        None => Verdict::Broken { reason: reason.to_owned() },
    };
    FeatureId::ALL.iter().map(|id| FeatureStatus::new(*id, verdict(*id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_has_the_programs_of_every_choice() {
        let programs = |id: FeatureId| id.programs().collect::<Vec<_>>();
        assert_eq!(programs(FeatureId::TcpLifecycle), ["tcp_state", "tcp_state_tp"]);
        assert_eq!(programs(FeatureId::DnsAnswers), ["dns_ingress"]);
        for id in FeatureId::ALL {
            assert!(!programs(*id).is_empty(), "{id} could not be given up");
        }
    }
}
