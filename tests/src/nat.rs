//! Address translation of a test: an nftables table in a network namespace, gone with its guard.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::netns::Netns;
use crate::process::run;

/// What is led from one address to another.
const PROTOCOLS: [&str; 2] = ["tcp", "udp"];

/// Where rules are made.
#[derive(Debug)]
enum Place {
    /// The tests' own namespace, which is the agent's.
    Here,
    /// A namespace that goes with its own guard.
    There(String),
}

/// Rules that lead one address to another one. Without them the tests would connect to nothing: all addresses are ones
/// of the place itself.
#[derive(Debug)]
pub struct Nat {
    place: Place,
    table: String,
}

impl Nat {
    /// No rule yet in the tests' own namespace.
    #[track_caller]
    pub fn here() -> Self {
        Self::new(Place::Here)
    }

    /// No rule yet in a namespace.
    #[track_caller]
    pub fn inside(namespace: &Netns) -> Self {
        Self::new(Place::There(format!("/run/netns/{}", namespace.name())))
    }

    /// No rule yet in the namespace of a process.
    #[track_caller]
    pub fn of_process(pid: &str) -> Self {
        Self::new(Place::There(format!("/proc/{pid}/ns/net")))
    }

    fn new(place: Place) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let nat = Self { place, table: format!("sonde_{}_{count}", std::process::id()) };
        nat.nft(&format!(
            "add table inet {0}; \
             add chain inet {0} output {{ type nat hook output priority -100; }}; \
             add chain inet {0} prerouting {{ type nat hook prerouting priority -100; }}; \
             add chain inet {0} postrouting {{ type nat hook postrouting priority 100; }}",
            nat.table
        ));
        nat
    }

    /// Connections from here to `port` of the address `from` lead to `to`; both of one family.
    #[must_use]
    #[track_caller]
    pub fn output(self, from: &str, to: &str) -> Self {
        self.lead("output", from, to)
    }

    /// Connections that come from elsewhere to `from` lead to `to`, and answers come back through here.
    #[must_use]
    #[track_caller]
    pub fn forward(self, from: &str, to: &str) -> Self {
        let nat = self.lead("prerouting", from, to);
        let (family, ip, port) = split(to);
        for protocol in PROTOCOLS {
            let to = format!("{family} daddr {ip} {protocol} dport {port}");
            nat.nft(&format!("add rule inet {} postrouting {to} masquerade", nat.table));
        }
        nat
    }

    /// Connections are tracked, as any rule that asks about them makes the kernel do; the chains alone do not.
    #[must_use]
    #[track_caller]
    pub fn tracking(self) -> Self {
        self.nft(&format!("add rule inet {} output ct state new accept", self.table));
        self
    }

    fn lead(self, chain: &str, from: &str, to: &str) -> Self {
        let (family, ip, port) = split(from);
        for protocol in PROTOCOLS {
            let rule = format!("{family} daddr {ip} {protocol} dport {port} dnat {family} to {to}");
            self.nft(&format!("add rule inet {} {chain} {rule}", self.table));
        }
        self
    }

    #[track_caller]
    fn nft(&self, commands: &str) {
        run(self.command().arg(commands));
    }

    fn command(&self) -> Command {
        match &self.place {
            Place::Here => Command::new("nft"),
            Place::There(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={namespace}")).args(["--", "nft"]);
                command
            }
        }
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        // Of a namespace that is gone, its rules are gone too.
        let _ = self.command().args(["delete", "table", "inet", &self.table]).output();
    }
}

/// Family, address and port, as nftables wants them.
fn split(address: &str) -> (&'static str, String, u16) {
    let address: std::net::SocketAddr = address.parse().expect("the tests' addresses are valid");
    (if address.is_ipv4() { "ip" } else { "ip6" }, address.ip().to_string(), address.port())
}
