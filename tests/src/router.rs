//! A network namespace between others, as the routers and address translators between two zones are: it leads the
//! addresses of zones to a server, so that the machine itself has none of them.

use std::process::Command;

use crate::nat::Nat;
use crate::netns::Netns;
use crate::process::run;

/// The router. Everyone who is attached reaches everyone else through it.
#[derive(Debug)]
pub struct Router {
    namespace: Netns,
    nat: Option<Nat>,
    attached: u8,
}

/// A namespace that is attached, by a file that stands for it.
fn inside(file: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={file}")).args(["--", program]);
    command
}

impl Router {
    /// A router to which nobody is attached.
    #[track_caller]
    pub fn new() -> Self {
        let namespace = Netns::new();
        run(namespace.command("sh").args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]));
        let nat = Some(Nat::inside(&namespace));
        Self { namespace, nat, attached: 0 }
    }

    /// Attaches a test's namespace and returns its address.
    #[track_caller]
    pub fn attach(&mut self, namespace: &Netns) -> String {
        self.attach_file(&format!("/run/netns/{}", namespace.name()))
    }

    /// Attaches the namespace of a process and returns its address.
    #[track_caller]
    pub fn attach_process(&mut self, pid: &str) -> String {
        self.attach_file(&format!("/proc/{pid}/ns/net"))
    }

    #[track_caller]
    fn attach_file(&mut self, file: &str) -> String {
        self.attached += 1;
        let subnet = format!("10.202.{}", self.attached);
        let (here, there) = (format!("{subnet}.1"), format!("{subnet}.2"));
        let end = format!("r{}", self.attached);
        run(self.namespace.command("ip").args(["link", "add", &end, "type", "veth", "peer", "name", "peer"]));
        // The other end is moved through a descriptor of its namespace, which needs no name.
        let move_to = "exec 9<\"$0\"; ip link set peer netns /proc/self/fd/9";
        run(self.namespace.command("sh").args(["-c", move_to, file]));
        run(self.namespace.command("ip").args(["address", "add", &format!("{here}/24"), "dev", &end]));
        run(self.namespace.command("ip").args(["link", "set", &end, "up"]));
        run(inside(file, "ip").args(["address", "add", &format!("{there}/24"), "dev", "peer"]));
        run(inside(file, "ip").args(["link", "set", "peer", "up"]));
        run(inside(file, "ip").args(["route", "add", "default", "via", &here]));
        there
    }

    /// Sends what is for a network to one of those attached.
    #[track_caller]
    pub fn route(&self, network: &str, via: &str) {
        run(self.namespace.command("ip").args(["route", "add", network, "via", via]));
    }

    /// Leads an address to another one, without anyone else knowing.
    #[track_caller]
    pub fn lead(&mut self, from: &str, to: &str) {
        self.nat = self.nat.take().map(|nat| nat.forward(from, to));
    }
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}
