//! Networks that configuration names, and the longest one that holds an address.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::classes::Class;

/// A network with what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its addresses.
    pub cidr: IpNet,
    /// The zone it is in.
    pub zone: Option<Arc<str>>,
    /// Its class; that of the address itself when absent.
    pub class: Option<Arc<str>>,
}

impl Network {
    /// Longest zone or class.
    const NAME_MAX: usize = 64;

    /// Judges what stands for a zone or a class.
    ///
    /// # Errors
    /// A sentence that names it.
    pub fn name(kind: &str, text: &str) -> Result<Arc<str>, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match text {
            "" => Err(format!("the {kind} is empty")),
            _ if text.len() > Self::NAME_MAX => {
                Err(format!("the {kind} is longer than {} bytes", Self::NAME_MAX))
            }
            _ if !text.chars().all(fits) => {
                Err(format!("the {kind} `{text}` has characters besides letters, digits, `.`, `_` and `-`"))
            }
            _ if kind == "class" && Class::RESERVED.contains(&text) => {
                Err(format!("the class `{text}` is that of this node's own addresses"))
            }
            _ => Ok(text.into()),
        }
    }
}

/// `CIDR=ZONE`, `CIDR=ZONE/CLASS`, or `CIDR=/CLASS`; an address alone is a network of one.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (cidr, names) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`"))?;
        let (zone, class) = match names.split_once('/') {
            Some((zone, class)) => (zone, Some(class)),
            None => (names, None),
        };
        let zone = match (zone, class) {
            // A class alone.
            ("", Some(_)) => None,
            (zone, _) => Some(Self::name("zone", zone)?),
        };
        let class = class.map(|class| Self::name("class", class)).transpose()?;
        Ok(Self { cidr: network(cidr)?, zone, class })
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let net = text.parse::<IpNet>().ok().or_else(single).ok_or_else(|| format!("`{text}` is no network"))?;
    if net.trunc() != net {
        return Err(format!("`{text}` has bits behind its prefix: is `{}` meant?", net.trunc()));
    }
    match net {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Err(format!("`{text}` maps an IPv4 network: write it as one"))
        }
        net => Ok(net),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.cidr, self.zone.as_deref().unwrap_or_default())?;
        self.class.as_deref().map_or(Ok(()), |class| write!(f, "/{class}"))
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<Network>,
    /// By prefix length, longest first: an index by the network's own address. A lookup costs one hash per length in
    /// use, of which configurations have a handful.
    v4: Vec<(u8, HashMap<IpAddr, usize>)>,
    v6: Vec<(u8, HashMap<IpAddr, usize>)>,
}

impl Networks {
    /// More than any provider has zones and subnets for one cluster; each may become a handful of series.
    pub const MAX: usize = 1024;

    /// Adds one.
    ///
    /// # Errors
    /// A sentence when it is there already, or there are too many.
    pub fn add(&mut self, network: Network) -> Result<(), String> {
        if self.networks.len() >= Self::MAX {
            return Err(format!("there are more than {} networks", Self::MAX));
        }
        let (address, length) = (network.cidr.addr(), network.cidr.prefix_len());
        let lengths = if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let at = lengths.binary_search_by(|(other, _)| length.cmp(other)).unwrap_or_else(|at| {
            lengths.insert(at, (length, HashMap::new()));
            at
        });
        if let Some(known) = lengths[at].1.get(&address) {
            return Err(format!("`{network}` is there already, as `{}`", self.networks[*known]));
        }
        lengths[at].1.insert(address, self.networks.len());
        self.networks.push(network);
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// The longest network that holds an address, by its index.
    pub fn find(&self, address: IpAddr) -> Option<usize> {
        let address = address.to_canonical();
        let lengths = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        lengths.iter().find_map(|(length, networks)| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            networks.get(&network.addr()).copied()
        })
    }

    /// One of them, by its index.
    pub fn get(&self, index: usize) -> &Network {
        &self.networks[index]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        let mut networks = Networks::default();
        texts.iter().for_each(|text| networks.add(text.parse().unwrap()).unwrap());
        networks
    }

    fn zone<'n>(networks: &'n Networks, address: &str) -> Option<&'n str> {
        networks.get(networks.find(address.parse().unwrap())?).zone.as_deref()
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let texts = [
            "10.0.0.0/8=cluster",
            "10.1.0.0/16=a",
            "10.1.2.0/24=b",
            "10.1.2.3=one",
            "fd00::/8=six",
            "fd00:1::/32=a6",
        ];
        for networks in [networks(&texts), networks(&texts.iter().rev().copied().collect::<Vec<_>>())] {
            for (address, expected) in [
                ("10.9.9.9", Some("cluster")),
                ("10.1.9.9", Some("a")),
                ("10.1.2.9", Some("b")),
                ("10.1.2.3", Some("one")),
                ("::ffff:10.1.2.3", Some("one")),
                ("11.0.0.1", None),
                ("fd00:1::9", Some("a6")),
                ("fd00:2::9", Some("six")),
                ("::a01:203", None),
            ] {
                assert_eq!(zone(&networks, address), expected, "{address}");
            }
        }
        assert_eq!(zone(&self::networks(&["0.0.0.0/0=all"]), "8.8.8.8"), Some("all"));
        assert_eq!(zone(&self::networks(&["0.0.0.0/0=all"]), "2001:db8::1"), None);
    }

    #[test]
    fn every_form_is_read_and_shown_again() {
        for text in ["10.0.0.0/8=eu-1a", "10.0.0.0/8=eu-1a/vpc", "10.0.0.0/8=/vpc", "fd00::/8=a"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("10.0.0.0/8={}", "z".repeat(65));
        for (text, expected) in [
            ("10.0.0.0/8", "`10.0.0.0/8` has no `=`"),
            ("10.0.0/8=a", "`10.0.0/8` is no network"),
            ("10.0.0.0/33=a", "`10.0.0.0/33` is no network"),
            ("10.0.0.1/8=a", "`10.0.0.1/8` has bits behind its prefix: is `10.0.0.0/8` meant?"),
            ("::ffff:10.0.0.0/104=a", "`::ffff:10.0.0.0/104` maps an IPv4 network: write it as one"),
            ("10.0.0.0/8=", "the zone is empty"),
            ("10.0.0.0/8=a/", "the class is empty"),
            ("10.0.0.0/8=a b", "the zone `a b` has characters besides letters, digits, `.`, `_` and `-`"),
            ("10.0.0.0/8=a/b/c", "the class `b/c` has characters besides letters, digits, `.`, `_` and `-`"),
            ("10.0.0.0/8=a/local", "the class `local` is that of this node's own addresses"),
            (&long, "the zone is longer than 64 bytes"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err(), expected);
        }
        let mut networks = networks(&["10.0.0.0/8=a"]);
        let again = networks.add("10.0.0.0/8=b".parse().unwrap());
        assert_eq!(again.unwrap_err(), "`10.0.0.0/8=b` is there already, as `10.0.0.0/8=a`");
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut networks = Networks::default();
        let network = |n: usize| format!("10.{}.{}.0/24=z", n / 256, n % 256).parse().unwrap();
        (0..Networks::MAX).for_each(|n| networks.add(network(n)).unwrap());
        assert!(networks.add(network(Networks::MAX)).unwrap_err().contains("more than 1024"));
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_a_walk_over_all(
            cidrs in proptest::collection::btree_set((any::<u32>(), 0u8..=32), 0..40),
            addresses in proptest::collection::vec(any::<u32>(), 0..40),
        ) {
            let mut networks = Networks::default();
            for (address, length) in cidrs {
                let cidr = IpNet::new(IpAddr::from(address.to_be_bytes()), length).unwrap().trunc();
                let _ = networks.add(Network { cidr, zone: None, class: None });
            }
            for address in addresses.into_iter().map(|address| IpAddr::from(address.to_be_bytes())) {
                let walk = networks.networks.iter().enumerate().filter(|(_, network)| network.cidr.contains(&address));
                let longest = walk.max_by_key(|(_, network)| network.cidr.prefix_len()).map(|(index, _)| index);
                prop_assert_eq!(networks.find(address), longest);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
            }
        }
    }
}
