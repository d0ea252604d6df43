//! The kernel's text files about the machine: where each stands, who understands it, and what its absence means.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::number::{Number, integer};
use super::{interfaces, memory, processors, sockets};
use crate::registry::Metric;
use crate::registry::catalog::node;

/// Larger than any of these files: `/proc/stat` of a thousand CPUs with their interrupts.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// A file with numbers.
struct Source {
    /// Below `--proc-root`.
    path: &'static str,
    /// What is absent without it; of several metrics the one to look for.
    metric: &'static Metric,
    /// Numbers of the text; `None` when it is not what it should be.
    parse: fn(&str) -> Option<Vec<Number>>,
    /// Why a machine may well be without it; empty when it should not be.
    without: &'static str,
}

const fn always(
    path: &'static str,
    metric: &'static Metric,
    parse: fn(&str) -> Option<Vec<Number>>,
) -> Source {
    Source { path, metric, parse, without: "" }
}

const PSI: &str = "the kernel was built without CONFIG_PSI or started with psi=0";
const IRQ: &str =
    "the kernel does not account for the time of interrupts (CONFIG_IRQ_TIME_ACCOUNTING, Linux 6.1)";
const IPV6: &str = "IPv6 is off";
const CONNTRACK: &str = "connection tracking is not loaded, or built without CONFIG_NF_CONNTRACK_PROCFS";

const SOURCES: [Source; 17] = [
    always("uptime", &node::UPTIME_SECONDS, processors::uptime),
    always("stat", &node::RESOURCES_CPU_USAGE_SECONDS_TOTAL, processors::stat),
    always("loadavg", &node::LOAD1, processors::load),
    always("meminfo", &node::RESOURCES_MEMORY_TOTAL_BYTES, memory::meminfo),
    always("vmstat", &node::RESOURCES_MEMORY_MAJOR_PAGE_FAULTS_TOTAL, memory::vmstat),
    always("sys/fs/file-nr", &node::FILEFD_ALLOCATED, processors::open_files),
    Source {
        path: "pressure/cpu",
        metric: &node::RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL,
        parse: |text| {
            processors::pressure(&node::RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL, &["some"], text)
        },
        without: PSI,
    },
    Source {
        path: "pressure/memory",
        metric: &node::RESOURCES_MEMORY_PRESSURE_WAITING_SECONDS_TOTAL,
        parse: |text| {
            processors::pressure(
                &node::RESOURCES_MEMORY_PRESSURE_WAITING_SECONDS_TOTAL,
                &["some", "full"],
                text,
            )
        },
        without: PSI,
    },
    Source {
        path: "pressure/io",
        metric: &node::RESOURCES_IO_PRESSURE_WAITING_SECONDS_TOTAL,
        parse: |text| {
            processors::pressure(&node::RESOURCES_IO_PRESSURE_WAITING_SECONDS_TOTAL, &["some", "full"], text)
        },
        without: PSI,
    },
    Source {
        path: "pressure/irq",
        metric: &node::RESOURCES_IRQ_PRESSURE_WAITING_SECONDS_TOTAL,
        parse: |text| {
            processors::pressure(&node::RESOURCES_IRQ_PRESSURE_WAITING_SECONDS_TOTAL, &["full"], text)
        },
        without: IRQ,
    },
    always("1/net/sockstat", &node::NET_SOCKETS_IN_USE, sockets::sockstat),
    Source {
        path: "1/net/sockstat6",
        metric: &node::NET_SOCKETS_IN_USE,
        parse: sockets::sockstat6,
        without: IPV6,
    },
    always("1/net/snmp", &node::NET_TCP_SEGMENTS_SENT_TOTAL, sockets::snmp),
    Source {
        path: "1/net/snmp6",
        metric: &node::NET_UDP_DATAGRAMS_SENT_TOTAL,
        parse: sockets::snmp6,
        without: IPV6,
    },
    always("1/net/netstat", &node::NET_TCP_LISTEN_OVERFLOWS_TOTAL, sockets::netstat),
    Source {
        path: "1/net/stat/nf_conntrack",
        metric: &node::NF_CONNTRACK_ENTRIES,
        parse: sockets::conntrack,
        without: CONNTRACK,
    },
    Source {
        path: "sys/net/netfilter/nf_conntrack_max",
        metric: &node::NF_CONNTRACK_ENTRIES_LIMIT,
        parse: sockets::conntrack_limit,
        without: CONNTRACK,
    },
];

/// What one look at all files brought.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The numbers found.
    pub numbers: Vec<Number>,
    /// Files that should be there and are not, or whose text is not understood.
    pub failures: u64,
    /// Metrics without a source, with the reason.
    pub absent: Vec<(&'static Metric, String)>,
}

/// Reads every file once. None of them waits for anything.
pub(super) fn read(proc_root: &Path) -> Look {
    let mut look = Look::default();
    for source in &SOURCES {
        let text = text(&proc_root.join(source.path));
        let may_lack = !source.without.is_empty() && text.as_ref().is_err_and(is_missing);
        let reason = match text.map(|text| (source.parse)(&text)) {
            Ok(Some(numbers)) => {
                look.numbers.extend(numbers);
                continue;
            }
            Err(_) if may_lack => source.without.to_owned(),
            Ok(None) => "its text is not understood".to_owned(),
            Err(error) => error.to_string(),
        };
        look.failures += u64::from(!may_lack);
        look.absent.push((source.metric, format!("{}: {reason}", source.path)));
    }
    count_conntrack(proc_root, &mut look);
    look
}

/// The number of connections that are tracked has a second source, of the agent's own network namespace. Many
/// distributions build without the first one.
fn count_conntrack(proc_root: &Path, look: &mut Look) {
    const COUNT: &str = "sys/net/netfilter/nf_conntrack_count";
    let entries = &node::NF_CONNTRACK_ENTRIES;
    let Some(at) = look.absent.iter().position(|(metric, _)| metric.name == entries.name) else { return };
    if !interfaces::shares_namespace(proc_root) {
        return;
    }
    let count = text(&proc_root.join(COUNT)).ok().and_then(|text| integer(text.trim()));
    if let Some(count) = count {
        look.numbers.push(Number::plain(entries, count));
        // What was lost is told by the first one only.
        look.absent[at].0 = &node::NF_CONNTRACK_DROPS_TOTAL;
    }
}

/// `psi=0` leaves the files there and refuses to open them.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 <= MAX_BYTES { Ok(text) } else { Err(io::Error::other("it is longer than 2 MiB")) }
}

/// Shows a text to every parser, whose file it may be or not.
#[cfg(test)]
pub(super) fn parse_with_all(text: &str) {
    for source in &SOURCES {
        (source.parse)(text);
    }
}
