//! UDP: programs `udp_*` and the map `UDP_BY_OWNER`; metrics `container_net_udp_*`.

use sonde_abi::{
    DecodeError, record,
    udp::{KIND_OWNER, KIND_SOCKET, OwnerKey, PeerKey, Totals, UdpRecord},
};

use std::net::{IpAddr, Ipv6Addr};

use crate::model::{CgroupId, DatagramOwner, Datagrams, HostPid, Origin, UdpKind, UdpSocket};

/// Decodes an event or an iterator's row.
///
/// # Errors
///
/// As [`super::decode`].
pub fn decode(bytes: &[u8]) -> Result<UdpSocket, DecodeError> {
    let record: UdpRecord = record::decode(bytes)?;
    let owner =
        DatagramOwner { cgroup_v2: record.cgroup_v2, started_ns: record.started_ns, tgid: record.tgid };
    Ok(UdpSocket {
        kind: match record.header.kind {
            KIND_OWNER => UdpKind::Owner(owner),
            KIND_SOCKET => UdpKind::Open,
            _ => UdpKind::Closed,
        },
        inode: record.inode,
        drops: record.drops,
        origin: origin(owner, record.cgroup_v1, &record.comm),
    })
}

/// Decodes an entry of the map: whose, where that is, and how much so far.
///
/// # Errors
///
/// Key or value is shorter than both halves agreed on.
pub fn decode_entry(key: &[u8], value: &[u8]) -> Result<(DatagramOwner, Origin, Datagrams), DecodeError> {
    let word = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_ne_bytes).ok_or(DecodeError::Short)
    };
    let tgid = word(key, std::mem::offset_of!(OwnerKey, tgid))?.to_ne_bytes();
    let owner = DatagramOwner {
        cgroup_v2: word(key, std::mem::offset_of!(OwnerKey, cgroup_v2))?,
        started_ns: word(key, std::mem::offset_of!(OwnerKey, started_ns))?,
        tgid: u32::from_ne_bytes([tgid[0], tgid[1], tgid[2], tgid[3]]),
    };
    let mut counted = Datagrams {
        sent_bytes: word(value, std::mem::offset_of!(Totals, sent_bytes))?,
        received_bytes: word(value, std::mem::offset_of!(Totals, received_bytes))?,
        sent: word(value, std::mem::offset_of!(Totals, sent))?,
        received: word(value, std::mem::offset_of!(Totals, received))?,
        ..Datagrams::default()
    };
    for (index, error) in counted.errors.iter_mut().enumerate() {
        *error = word(value, std::mem::offset_of!(Totals, errors) + index * size_of::<u64>())?;
    }
    let comm = std::mem::offset_of!(Totals, comm);
    let cgroup_v1 = word(value, std::mem::offset_of!(Totals, cgroup_v1))?;
    Ok((owner, origin(owner, cgroup_v1, &value[comm..comm + 16]), counted))
}

/// The socket's address and the other end's. The former is unspecified where a packet had more receivers than one.
pub fn ends(key: &PeerKey) -> (IpAddr, IpAddr) {
    let address = |octets| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical();
    (address(key.local), address(key.remote))
}

/// The key of an owner's entry.
pub fn key(owner: DatagramOwner) -> [u8; size_of::<OwnerKey>()] {
    let mut key = [0; size_of::<OwnerKey>()];
    let mut put = |at: usize, bytes: &[u8]| key[at..at + bytes.len()].copy_from_slice(bytes);
    put(std::mem::offset_of!(OwnerKey, cgroup_v2), &owner.cgroup_v2.to_ne_bytes());
    put(std::mem::offset_of!(OwnerKey, started_ns), &owner.started_ns.to_ne_bytes());
    put(std::mem::offset_of!(OwnerKey, tgid), &owner.tgid.to_ne_bytes());
    key
}

fn origin(owner: DatagramOwner, cgroup_v1: u64, comm: &[u8]) -> Origin {
    Origin {
        pid: HostPid(owner.tgid),
        v2: CgroupId(owner.cgroup_v2),
        v1: CgroupId(cgroup_v1),
        comm: record::text(comm).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UdpFailure;

    const OWNER: DatagramOwner = DatagramOwner { cgroup_v2: 7, started_ns: 8, tgid: 9 };

    #[test]
    fn an_entry_says_whose_and_how_much() {
        let mut value = [0; size_of::<Totals>()];
        let mut put = |at: usize, number: u64| value[at..at + 8].copy_from_slice(&number.to_ne_bytes());
        put(0, 5);
        put(24, 100);
        put(32, 200);
        put(40, 1);
        put(48, 2);
        put(56 + 8 * UdpFailure::Refused as usize, 3);
        value[8..11].copy_from_slice(b"dig");
        let (owner, origin, counted) = decode_entry(&key(OWNER), &value).unwrap();
        assert_eq!(owner, OWNER);
        assert_eq!((origin.pid, origin.v1, &*origin.comm), (HostPid(9), CgroupId(5), "dig"));
        let expected = Datagrams {
            sent_bytes: 100,
            received_bytes: 200,
            sent: 1,
            received: 2,
            errors: [0, 3, 0, 0, 0, 0],
        };
        assert_eq!(counted, expected);
        assert_eq!(decode_entry(&key(OWNER)[..20], &value), Err(DecodeError::Short));
        assert_eq!(decode_entry(&key(OWNER), &value[..100]), Err(DecodeError::Short));
    }

    #[test]
    fn ends_are_addresses_of_their_family() {
        let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let key = |local, remote| PeerKey { local: octets(local), remote: octets(remote) };
        let ends = |local, remote| ends(&key(local, remote));
        assert_eq!(
            ends("::ffff:10.0.0.1", "::ffff:8.8.8.8"),
            (IpAddr::from([10, 0, 0, 1]), IpAddr::from([8, 8, 8, 8]))
        );
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(ends("::", "2001:db8::1"), (IpAddr::V6(Ipv6Addr::UNSPECIFIED), six));
    }

    #[test]
    fn kinds_are_told_apart() {
        for (kind, expected) in
            [(KIND_OWNER, UdpKind::Owner(OWNER)), (KIND_SOCKET, UdpKind::Open), (0x62, UdpKind::Closed)]
        {
            let mut bytes = [0; size_of::<UdpRecord>()];
            bytes[..2].copy_from_slice(&kind.to_ne_bytes());
            bytes[2..4].copy_from_slice(&(size_of::<UdpRecord>() as u16).to_ne_bytes());
            (bytes[8], bytes[16], bytes[24], bytes[32], bytes[64]) = (3, 8, 4, 7, 9);
            let socket = decode(&bytes).unwrap();
            assert_eq!((socket.kind, socket.inode, socket.drops), (expected, 3, 4));
        }
    }
}
