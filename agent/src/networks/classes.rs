//! Classes of addresses that no configured network holds.

use std::net::{IpAddr, Ipv4Addr};

/// What an address is by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The same network namespace: 127.0.0.0/8, ::1.
    Loopback,
    /// Another address of this node or of one of its containers.
    Local,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918), 100.64.0.0/10 (RFC 6598), fc00::/7 (RFC 4193).
    Private,
    /// 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291); a cloud's metadata service among them.
    LinkLocal,
    /// 224.0.0.0/4, 255.255.255.255, ff00::/8.
    Multicast,
    /// Everything else.
    Public,
}

impl Class {
    /// Names that configuration may not give to networks: they are about this node, not about a network.
    pub const RESERVED: [&'static str; 2] = ["loopback", "local"];

    /// The value of the `class` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Local => "local",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Multicast => "multicast",
            Self::Public => "public",
        }
    }

    /// The class of an address; that it is one of this node's own is for others to know. An IPv6 address that maps an
    /// IPv4 one is the latter.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            ip if ip.is_loopback() || ip.is_unspecified() => Self::Loopback,
            ip if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Self::Multicast,
            IpAddr::V4(ip) if ip.is_link_local() => Self::LinkLocal,
            IpAddr::V4(ip) if ip.is_private() || is_shared(ip) => Self::Private,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::LinkLocal,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Private,
            _ => Self::Public,
        }
    }
}

/// 100.64.0.0/10, which providers and clusters use behind their own translation.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_their_standards_say() {
        let cases = [
            ("127.0.0.1", Class::Loopback),
            ("127.255.255.255", Class::Loopback),
            ("::1", Class::Loopback),
            ("::ffff:127.0.0.1", Class::Loopback),
            ("0.0.0.0", Class::Loopback),
            ("::", Class::Loopback),
            ("10.0.0.0", Class::Private),
            ("11.0.0.0", Class::Public),
            ("172.15.255.255", Class::Public),
            ("172.16.0.0", Class::Private),
            ("172.31.255.255", Class::Private),
            ("172.32.0.0", Class::Public),
            ("192.168.7.7", Class::Private),
            ("192.169.0.0", Class::Public),
            ("100.63.255.255", Class::Public),
            ("100.64.0.0", Class::Private),
            ("100.127.255.255", Class::Private),
            ("100.128.0.0", Class::Public),
            ("::ffff:10.1.2.3", Class::Private),
            ("fc00::", Class::Private),
            ("fdff:ffff::1", Class::Private),
            ("fe00::", Class::Public),
            ("fe80::1", Class::LinkLocal),
            ("febf::1", Class::LinkLocal),
            ("169.254.169.254", Class::LinkLocal),
            ("224.0.0.251", Class::Multicast),
            ("255.255.255.255", Class::Multicast),
            ("ff02::fb", Class::Multicast),
            ("8.8.8.8", Class::Public),
            ("2001:db8::1", Class::Public),
        ];
        for (text, class) in cases {
            assert_eq!(Class::of(text.parse().unwrap()), class, "{text}");
        }
    }
}
