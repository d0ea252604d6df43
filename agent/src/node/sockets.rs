//! Sockets and protocols of process 1's network namespace: `sockstat`, `snmp`, `netstat` and the table of connection
//! tracking.

use super::number::{Number, integer};
use crate::registry::Metric;
use crate::registry::catalog::node;

/// Lines are a protocol, then pairs of a name and a number.
pub(super) fn sockstat(text: &str) -> Option<Vec<Number>> {
    let page = rustix::param::page_size() as f64;
    let (used, memory) = (&node::NET_SOCKETS_IN_USE, &node::NET_SOCKET_MEMORY_BYTES);
    let values: [(&str, &str, &'static Metric, &'static str, f64); 7] = [
        ("TCP", "inuse", used, "tcp", 1.0),
        ("UDP", "inuse", used, "udp", 1.0),
        ("TCP", "mem", memory, "tcp", page),
        ("UDP", "mem", memory, "udp", page),
        ("TCP", "tw", &node::NET_TCP_TIME_WAIT_SOCKETS, "", 1.0),
        ("TCP", "orphan", &node::NET_TCP_ORPHANED_SOCKETS, "", 1.0),
        ("TCP", "alloc", &node::NET_TCP_ALLOCATED_SOCKETS, "", 1.0),
    ];
    let read = |(protocol, name, metric, label, unit)| {
        let value = pair(text, protocol, name)? * unit;
        Some(Number::labelled(metric, ("protocol", label), value))
    };
    some(values.into_iter().filter_map(read).collect())
}

/// The same for IPv6, without memory: the kernel adds it to that of IPv4.
pub(super) fn sockstat6(text: &str) -> Option<Vec<Number>> {
    let read = |(protocol, label)| {
        let value = pair(text, protocol, "inuse")?;
        Some(Number::labelled(&node::NET_SOCKETS_IN_USE, ("protocol", label), value))
    };
    some([("TCP6", "tcp6"), ("UDP6", "udp6")].into_iter().filter_map(read).collect())
}

fn pair(text: &str, protocol: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == name)?;
    integer(words.next()?)
}

/// Counters of UDP by family: in `snmp` they stand in a table, in `snmp6` in lines with a longer name.
const UDP: [(&Metric, &str, &str); 6] = [
    (&node::NET_UDP_DATAGRAMS_RECEIVED_TOTAL, "InDatagrams", "Udp6InDatagrams"),
    (&node::NET_UDP_DATAGRAMS_SENT_TOTAL, "OutDatagrams", "Udp6OutDatagrams"),
    (&node::NET_UDP_UNWANTED_TOTAL, "NoPorts", "Udp6NoPorts"),
    (&node::NET_UDP_RECEIVE_ERRORS_TOTAL, "InErrors", "Udp6InErrors"),
    (&node::NET_UDP_RECEIVE_BUFFER_ERRORS_TOTAL, "RcvbufErrors", "Udp6RcvbufErrors"),
    (&node::NET_UDP_SEND_BUFFER_ERRORS_TOTAL, "SndbufErrors", "Udp6SndbufErrors"),
];

/// The counters of RFC 4022 (TCP, of both families) and RFC 4113 (UDP over IPv4).
pub(super) fn snmp(text: &str) -> Option<Vec<Number>> {
    let tcp: [(&'static Metric, &str); 7] = [
        (&node::NET_TCP_SEGMENTS_RECEIVED_TOTAL, "InSegs"),
        (&node::NET_TCP_SEGMENTS_SENT_TOTAL, "OutSegs"),
        (&node::NET_TCP_SEGMENTS_RETRANSMITTED_TOTAL, "RetransSegs"),
        (&node::NET_TCP_SEGMENTS_BAD_TOTAL, "InErrs"),
        (&node::NET_TCP_RESETS_SENT_TOTAL, "OutRsts"),
        (&node::NET_TCP_ESTABLISHED_RESETS_TOTAL, "EstabResets"),
        (&node::NET_TCP_FAILED_HANDSHAKES_TOTAL, "AttemptFails"),
    ];
    let tcp =
        tcp.into_iter().filter_map(|(metric, name)| Some(Number::plain(metric, column(text, "Tcp", name)?)));
    let udp = UDP.into_iter().filter_map(|(metric, name, _)| {
        Some(Number::labelled(metric, ("family", "ipv4"), column(text, "Udp", name)?))
    });
    some(tcp.chain(udp).collect())
}

/// The counters of UDP over IPv6.
pub(super) fn snmp6(text: &str) -> Option<Vec<Number>> {
    let read = |(metric, _, name): (&'static Metric, &str, &str)| {
        let value = text.lines().find_map(|line| {
            let (key, value) = line.split_once(char::is_whitespace)?;
            (key == name).then(|| integer(value.trim()))?
        })?;
        Some(Number::labelled(metric, ("family", "ipv6"), value))
    };
    some(UDP.into_iter().filter_map(read).collect())
}

/// Linux's own counters of TCP.
pub(super) fn netstat(text: &str) -> Option<Vec<Number>> {
    let values: [(&'static Metric, &str); 6] = [
        (&node::NET_TCP_LISTEN_OVERFLOWS_TOTAL, "ListenOverflows"),
        (&node::NET_TCP_LISTEN_DROPS_TOTAL, "ListenDrops"),
        (&node::NET_TCP_SYN_COOKIES_SENT_TOTAL, "SyncookiesSent"),
        (&node::NET_TCP_SYN_COOKIES_FAILED_TOTAL, "SyncookiesFailed"),
        (&node::NET_TCP_TIMEOUTS_TOTAL, "TCPTimeouts"),
        (&node::NET_TCP_MEMORY_ABORTS_TOTAL, "TCPAbortOnMemory"),
    ];
    let read = |(metric, name)| Some(Number::plain(metric, column(text, "TcpExt", name)?));
    some(values.into_iter().filter_map(read).collect())
}

/// A value of a table that has a line of names and below it one of numbers, both after the same word.
fn column(text: &str, table: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(table)?.strip_prefix(':'));
    let position = lines.next()?.split_ascii_whitespace().position(|known| known == name)?;
    integer(lines.next()?.split_ascii_whitespace().nth(position)?)
}

/// Fill and losses of connection tracking: a line of names, then one of hexadecimal numbers per CPU. The entries are
/// those of the whole namespace in each line, the losses those of the line's CPU.
pub(super) fn conntrack(text: &str) -> Option<Vec<Number>> {
    let names: Vec<&str> = text.lines().next()?.split_ascii_whitespace().collect();
    let column = |name: &str| -> Option<Vec<u64>> {
        let position = names.iter().position(|known| *known == name)?;
        let value = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(position)?, 16).ok();
        text.lines().skip(1).map(value).collect()
    };
    let entries = *column("entries")?.first()?;
    let mut numbers = vec![Number::plain(&node::NF_CONNTRACK_ENTRIES, entries as f64)];
    numbers.extend(["drop", "early_drop", "insert_failed"].into_iter().filter_map(|reason| {
        let lost = column(reason)?.into_iter().fold(0, u64::saturating_add);
        Some(Number::labelled(&node::NF_CONNTRACK_DROPS_TOTAL, ("reason", reason), lost as f64))
    }));
    Some(numbers)
}

/// The one number that is the size of the table.
pub(super) fn conntrack_limit(text: &str) -> Option<Vec<Number>> {
    Some(vec![Number::plain(&node::NF_CONNTRACK_ENTRIES_LIMIT, integer(text.trim())?)])
}

/// Of a file in which nothing was found it is not said that it was understood.
fn some(numbers: Vec<Number>) -> Option<Vec<Number>> {
    (!numbers.is_empty()).then_some(numbers)
}
