//! TCP: programs `tcp_state`, `tcp_state_tp` and `tcp_iter`; metrics `container_net_tcp_*`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sonde_abi::{DecodeError, record, tcp::*};

use crate::model::{
    Backlog, BootNanos, CgroupId, Counters, End, Failure, HostPid, NetnsId, Origin, Role, RoundTrip,
    SocketId, SocketKind, TcpSocket,
};

/// Decodes an event or an iterator's row.
///
/// # Errors
///
/// As [`super::decode`].
pub fn decode(bytes: &[u8]) -> Result<TcpSocket, DecodeError> {
    record::decode::<TcpRecord>(bytes).map(|record| socket(&record))
}

fn socket(record: &TcpRecord) -> TcpSocket {
    TcpSocket {
        kind: kind(record),
        id: SocketId { sock: record.sock, born: BootNanos(record.born_ns) },
        at: BootNanos(record.at_ns),
        role: match record.role {
            ROLE_OUTBOUND => Role::Outbound,
            ROLE_INBOUND => Role::Inbound,
            _ => Role::Unknown,
        },
        adopted: record.flags & FLAG_ADOPTED != 0,
        local: endpoint(record.family, record.local_addr, record.local_port),
        remote: endpoint(record.family, record.remote_addr, record.remote_port),
        asked: asked(record),
        actual: None,
        name: None,
        netns: NetnsId(record.netns),
        origin: origin(record),
        connect_ns: record.connect_ns,
        failure: failure(record),
        end: match record.end {
            END_RESET_RECEIVED => End::ResetReceived,
            END_RESET_SENT => End::ResetSent,
            _ => End::Orderly,
        },
        counters: counters(record),
        round_trip: (record.srtt_us > 0).then(|| RoundTrip {
            srtt_us: record.srtt_us,
            min_us: (record.min_rtt_us != u32::MAX).then_some(record.min_rtt_us),
        }),
        backlog: (record.backlog_max > 0).then_some(Backlog {
            length: record.backlog,
            max: record.backlog_max,
            drops: record.drops,
        }),
    }
}

/// The address given to connect(2). The unspecified address means this host, and the kernel says so by itself.
fn asked(record: &TcpRecord) -> Option<SocketAddr> {
    let asked = || endpoint(record.family, record.asked_addr, record.asked_port);
    (record.flags & FLAG_ASKED != 0).then(asked).filter(|asked| !asked.ip().is_unspecified())
}

/// Why an attempt failed, from the errno in the socket: include/uapi/asm-generic/errno.h, which ICMP messages become
/// by `icmp_err_convert` (net/ipv4/icmp.c) and `icmpv6_err_convert`. The kernel leaves none behind when the program
/// closes the socket, and when connect(2) returns its error before it sends anything.
fn failure(record: &TcpRecord) -> Failure {
    match i32::from(record.error) {
        _ if record.flags & FLAG_ERROR == 0 => Failure::Other,
        0 if record.flags & FLAG_UNSENT != 0 => Failure::AddressUnavailable,
        0 | libc::ECONNABORTED => Failure::Aborted,
        libc::ECONNREFUSED => Failure::Refused,
        libc::ETIMEDOUT => Failure::TimedOut,
        libc::EHOSTUNREACH | libc::EHOSTDOWN => Failure::HostUnreachable,
        libc::ENETUNREACH | libc::ENETDOWN | libc::ENONET => Failure::NetworkUnreachable,
        libc::ECONNRESET | libc::EPIPE => Failure::Reset,
        libc::EACCES | libc::EPERM => Failure::Permission,
        libc::EADDRNOTAVAIL | libc::EADDRINUSE => Failure::AddressUnavailable,
        _ => Failure::Other,
    }
}

fn kind(record: &TcpRecord) -> SocketKind {
    match record.header.kind {
        KIND_CONNECTED => SocketKind::Connected,
        KIND_CONNECT_FAILED => SocketKind::ConnectFailed,
        KIND_ACCEPTED => SocketKind::Accepted,
        KIND_CLOSED => SocketKind::Closed,
        KIND_LISTEN => SocketKind::Listen,
        KIND_UNLISTEN => SocketKind::Unlisten,
        _ if i32::from(record.state) == state::LISTEN => SocketKind::Listening,
        _ => SocketKind::Open,
    }
}

/// A v4-mapped IPv6 address is the IPv4 address that is on the wire.
fn endpoint(family: u16, bytes: [u8; 16], port: u16) -> SocketAddr {
    let ip = match family {
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(),
        _ => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
    };
    SocketAddr::new(ip, port)
}

/// An accepted connection that nobody has picked up yet has a cgroup but no process; without even that, nothing.
fn origin(record: &TcpRecord) -> Option<Origin> {
    let known = record.tgid != 0 || record.cgroup_v2 > 1 || record.cgroup_v1 > 1;
    known.then(|| Origin {
        pid: HostPid(record.tgid),
        v2: CgroupId(record.cgroup_v2),
        v1: CgroupId(record.cgroup_v1),
        comm: record::text(&record.comm).into(),
    })
}

fn counters(record: &TcpRecord) -> Option<Counters> {
    // A FIN takes a sequence number, and the kernel counts it as a byte received.
    let fin = u64::from(record.flags & FLAG_FIN_RECEIVED != 0);
    (record.flags & FLAG_COUNTERS != 0).then(|| Counters {
        sent: record.bytes_sent,
        received: record.bytes_received.saturating_sub(fin),
        retransmits: record.retransmits.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonde_abi::{Header, Record};

    fn blank(kind: u16) -> TcpRecord {
        let bytes = [0; size_of::<TcpRecord>()];
        let mut bytes = bytes;
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        bytes[2..4].copy_from_slice(&(size_of::<TcpRecord>() as u16).to_ne_bytes());
        record::decode(&bytes).unwrap()
    }

    #[test]
    fn a_fin_is_no_byte() {
        let record = TcpRecord {
            flags: FLAG_COUNTERS | FLAG_FIN_RECEIVED,
            bytes_received: 1001,
            bytes_sent: 7,
            retransmits: 3,
            ..blank(KIND_CLOSED)
        };
        assert_eq!(counters(&record), Some(Counters { sent: 7, received: 1000, retransmits: 3 }));
        assert_eq!(counters(&TcpRecord { flags: 0, ..record }), None, "not measured is not zero");
    }

    #[test]
    fn every_errno_has_a_reason_and_silence_means_the_program_gave_up() {
        let reason = |error: i32, flags| {
            failure(&TcpRecord { error: error as u16, flags, ..blank(KIND_CONNECT_FAILED) })
        };
        for (error, expected) in [
            (libc::ECONNREFUSED, Failure::Refused),
            (libc::ETIMEDOUT, Failure::TimedOut),
            (libc::EHOSTUNREACH, Failure::HostUnreachable),
            (libc::ENETUNREACH, Failure::NetworkUnreachable),
            (libc::ECONNRESET, Failure::Reset),
            (libc::EACCES, Failure::Permission),
            (libc::EADDRNOTAVAIL, Failure::AddressUnavailable),
            (libc::EPROTO, Failure::Other),
            (0, Failure::Aborted),
        ] {
            assert_eq!(reason(error, FLAG_ERROR), expected);
        }
        assert_eq!(reason(0, FLAG_ERROR | FLAG_UNSENT), Failure::AddressUnavailable);
        assert_eq!(reason(libc::ECONNREFUSED, FLAG_ERROR | FLAG_UNSENT), Failure::Refused);
        assert_eq!(reason(0, 0), Failure::Other, "what cannot be read is not guessed");
    }

    #[test]
    fn the_address_asked_for_is_told_only_when_it_is_one() {
        let record = TcpRecord {
            family: AF_INET,
            asked_addr: [10, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            asked_port: 443,
            flags: FLAG_ASKED,
            ..blank(KIND_CONNECTED)
        };
        assert_eq!(asked(&record), Some("10.96.0.1:443".parse().unwrap()));
        assert_eq!(asked(&TcpRecord { flags: 0, ..record }), None);
        assert_eq!(asked(&TcpRecord { asked_addr: [0; 16], ..record }), None, "0.0.0.0 is this host");
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut bytes = [0; 16];
        bytes[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(endpoint(AF_INET6, bytes, 80), "10.1.2.3:80".parse().unwrap());
        assert_eq!(
            endpoint(AF_INET6, [0xfd; 16], 80).to_string(),
            "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:80"
        );
    }

    #[test]
    fn kinds_and_sizes_are_checked() {
        assert!(TcpRecord::has_kind(KIND_SOCKET) && !TcpRecord::has_kind(0x20));
        let header = Header::of::<TcpRecord>(KIND_CLOSED);
        let mut bytes = [0; size_of::<TcpRecord>()];
        bytes[..2].copy_from_slice(&header.kind.to_ne_bytes());
        bytes[2..4].copy_from_slice(&header.size.to_ne_bytes());
        assert!(decode(&bytes).is_ok());
        assert_eq!(decode(&bytes[..100]), Err(DecodeError::Short));
        bytes[2] ^= 8;
        assert_eq!(decode(&bytes), Err(DecodeError::Size));
        bytes[0] = 0xff;
        assert_eq!(decode(&bytes), Err(DecodeError::Kind));
    }
}
