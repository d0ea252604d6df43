//! Messages of the kernel's connection tracking over netlink: one question, two kinds of answers. Pure.
//!
//! A question is `IPCTNL_MSG_CT_GET` with a tuple; the answer is `IPCTNL_MSG_CT_NEW` with the tuples of both directions,
//! or `NLMSG_ERROR`. Layout: `include/uapi/linux/netlink.h`, `netfilter/nfnetlink.h` and
//! `netfilter/nfnetlink_conntrack.h`. Numbers are in the machine's byte order, addresses and ports in the network's.
//! What the kernel answers is believed only as far as it is well-formed: any bytes decode without a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 0x0101;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`.
const NEW: u16 = 0x0100;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`.
const GENERIC: usize = 4;
/// `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`.
const TYPE_MASK: u16 = 0x3fff;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `CTA_TUPLE_ORIG`: the direction in which the connection was opened.
const TUPLE_ORIGINAL: u16 = 1;
/// `CTA_TUPLE_REPLY`: the direction of the answers.
const TUPLE_REPLY: u16 = 2;
/// `CTA_TUPLE_IP`.
const TUPLE_IP: u16 = 1;
/// `CTA_TUPLE_PROTO`.
const TUPLE_PROTO: u16 = 2;
/// `CTA_IP_V4_SRC`; the destination follows it.
const IP_V4: u16 = 1;
/// `CTA_IP_V6_SRC`; the destination follows it.
const IP_V6: u16 = 3;
/// `CTA_PROTO_NUM`.
const PROTO_NUM: u16 = 1;
/// `CTA_PROTO_SRC_PORT`.
const PROTO_SOURCE: u16 = 2;
/// `CTA_PROTO_DST_PORT`.
const PROTO_DESTINATION: u16 = 3;

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `IPPROTO_TCP`.
    Tcp = 6,
    /// `IPPROTO_UDP`.
    Udp = 17,
}

/// One direction of a connection. Both addresses are of one family, and no IPv6 one is a mapped IPv4 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Protocol.
    pub protocol: Protocol,
    /// Where packets come from.
    pub source: SocketAddr,
    /// Where they go to.
    pub destination: SocketAddr,
}

impl Tuple {
    /// The tuple of a connection; `None` when the addresses cannot belong together or a port is not known.
    pub fn new(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Option<Self> {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (canonical(source), canonical(destination));
        let fits = source.is_ipv4() == destination.is_ipv4() && source.port() != 0 && destination.port() != 0;
        fits.then_some(Self { protocol, source, destination })
    }

    /// The direction of the answers.
    pub fn inverted(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }
}

/// What a message of the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A tracked connection.
    Tracked {
        /// The direction in which it was opened, as its opener sees it.
        original: Tuple,
        /// The direction of the answers, as the one who answers sees it.
        reply: Tuple,
    },
    /// A refusal, with its errno.
    Refused(i32),
    /// Anything else, and what is not well-formed.
    Unknown,
}

/// Appends the question for a tuple.
pub fn encode(tuple: &Tuple, sequence: u32, buffer: &mut Vec<u8>) {
    let start = buffer.len();
    buffer.extend([0; 4]);
    buffer.extend(GET.to_ne_bytes());
    buffer.extend(REQUEST.to_ne_bytes());
    buffer.extend(sequence.to_ne_bytes());
    // The kernel knows the sender.
    buffer.extend([0; 4]);
    // Version 0, no resource.
    buffer.extend([if tuple.source.is_ipv4() { AF_INET } else { AF_INET6 }, 0, 0, 0]);
    nested(buffer, TUPLE_ORIGINAL, |buffer| {
        nested(buffer, TUPLE_IP, |buffer| {
            for (index, address) in (0..).zip([tuple.source, tuple.destination]) {
                match address.ip() {
                    IpAddr::V4(ip) => attribute(buffer, IP_V4 + index, &ip.octets()),
                    IpAddr::V6(ip) => attribute(buffer, IP_V6 + index, &ip.octets()),
                }
            }
        });
        nested(buffer, TUPLE_PROTO, |buffer| {
            attribute(buffer, PROTO_NUM, &[tuple.protocol as u8]);
            attribute(buffer, PROTO_SOURCE, &tuple.source.port().to_be_bytes());
            attribute(buffer, PROTO_DESTINATION, &tuple.destination.port().to_be_bytes());
        });
    });
    let length = u32::try_from(buffer.len() - start).expect("a question has less than 200 bytes");
    buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

fn nested(buffer: &mut Vec<u8>, kind: u16, content: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend([0; ATTRIBUTE]);
    content(buffer);
    set_header(buffer, start, kind | NESTED);
}

fn attribute(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let start = buffer.len();
    buffer.extend([0; ATTRIBUTE]);
    buffer.extend(value);
    set_header(buffer, start, kind);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

fn set_header(buffer: &mut [u8], start: usize, kind: u16) {
    let length = u16::try_from(buffer.len() - start).expect("a question has less than 200 bytes");
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    buffer[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
}

/// The messages in what was read at once, each with the number of its question. Stops at the first that is cut off.
pub fn decode(mut bytes: &[u8]) -> impl Iterator<Item = (u32, Reply)> {
    std::iter::from_fn(move || {
        let length = usize::try_from(number_u32(bytes)?).ok()?;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((number_u32(&message[8..])?, reply(number_u16(&message[4..])?, &message[HEADER..])))
    })
}

fn reply(kind: u16, body: &[u8]) -> Reply {
    match kind {
        ERROR => match number_u32(body) {
            // An errno is negative; zero is an acknowledgement, for which nobody asked.
            Some(code) if code.cast_signed() < 0 => Reply::Refused(code.cast_signed().saturating_neg()),
            _ => Reply::Unknown,
        },
        NEW => tracked(body.get(GENERIC..).unwrap_or_default()).unwrap_or(Reply::Unknown),
        _ => Reply::Unknown,
    }
}

fn tracked(body: &[u8]) -> Option<Reply> {
    let direction = |wanted| tuple(find(body, wanted)?);
    Some(Reply::Tracked { original: direction(TUPLE_ORIGINAL)?, reply: direction(TUPLE_REPLY)? })
}

fn tuple(body: &[u8]) -> Option<Tuple> {
    let (addresses, ports) = (find(body, TUPLE_IP)?, find(body, TUPLE_PROTO)?);
    let ip = |index: u16| {
        let v4 = || Some(Ipv4Addr::from(<[u8; 4]>::try_from(find(addresses, IP_V4 + index)?).ok()?).into());
        let v6 = || Some(Ipv6Addr::from(<[u8; 16]>::try_from(find(addresses, IP_V6 + index)?).ok()?).into());
        v4().or_else(v6)
    };
    let port = |kind| Some(u16::from_be_bytes(find(ports, kind)?.try_into().ok()?));
    let protocol = match find(ports, PROTO_NUM)? {
        [6] => Protocol::Tcp,
        [17] => Protocol::Udp,
        _ => return None,
    };
    let (source, destination): (IpAddr, IpAddr) = (ip(0)?, ip(1)?);
    let source = SocketAddr::new(source, port(PROTO_SOURCE)?);
    Tuple::new(protocol, source, SocketAddr::new(destination, port(PROTO_DESTINATION)?))
}

/// The value of the first attribute of a kind.
fn find(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(number_u16(bytes)?);
        let kind = number_u16(bytes.get(2..)?)? & TYPE_MASK;
        let value = bytes.get(ATTRIBUTE..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn number_u16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn number_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
