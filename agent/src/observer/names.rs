//! Names of destinations: reading DNS answers, and the series `ip_to_fqdn`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::core::before;
use crate::kernel::Kernel;
use crate::model::{BootNanos, NameId, Role, TcpSocket};
use crate::probes::dns;
use crate::registry::catalog::{agent, dns as catalog};
use crate::registry::{Labels, SnapshotBuilder};
use crate::state::{Connections, Direction, Names, Peer};
use crate::telemetry::Telemetry;

/// Answers read before anything else gets its turn: some times what the ring holds.
const BUDGET: usize = 10_000;
/// A name that leads to no destination is forgotten after this long without an answer.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Reads the answers that wait.
pub fn drain(kernel: &mut Kernel, names: &mut Names, telemetry: &mut Telemetry) {
    let now = clock::boot();
    kernel.drain_answers(BUDGET, |bytes| match dns::decode(bytes) {
        Ok((asker, message)) => match dns::parse(message) {
            Ok(answer) => {
                telemetry.count_event("dns_answer");
                names.answered(asker, &answer, now);
            }
            Err(_) => telemetry.count_event("dns_malformed"),
        },
        Err(error) => telemetry.count_decode_error(error),
    });
}

/// Gives an outbound connection the name of its destination, where that stands for the address.
pub fn name(names: &mut Names, socket: &mut TcpSocket) {
    if socket.role == Role::Outbound {
        socket.name = names.destination(socket.destination().ip());
    }
}

/// Forgets what is over.
pub fn forget(names: &mut Names, tables: &Connections, now: BootNanos) {
    names.forget(&destinations(tables), holders(tables), (now, before(now, FORGET_AFTER)));
}

/// Adds the names of destinations.
pub fn emit(names: &Names, tables: &Connections, builder: &mut SnapshotBuilder) {
    let none = Labels::empty();
    if !names.is_empty() {
        for ip in destinations(tables) {
            if let Some(name) = names.of(ip) {
                builder.number(&catalog::IP_TO_FQDN, &none, &labels(ip, name), 1.0);
            }
        }
    }
    let stats = names.stats();
    builder.number(&agent::NAMES, &none, &none, names.len() as f64);
    builder.number(&agent::NAMES_EVICTED_TOTAL, &none, &none, stats.evicted as f64);
    for (cap, count) in [("container", stats.folded.workload), ("node", stats.folded.node)] {
        let own = Labels::new([("table", "names"), ("cap", cap)]);
        builder.number(&agent::SERIES_FOLDED_TOTAL, &none, &own, count as f64);
    }
}

fn labels(ip: IpAddr, name: &str) -> Arc<Labels> {
    Labels::new([("ip", ip.to_string().as_str()), ("fqdn", name)])
}

/// Addresses that workloads connect to, before and after translation, and those that round-trip times are shown of: a
/// connection whose destination is a name has no other address.
fn destinations(tables: &Connections) -> HashSet<IpAddr> {
    let addresses = peers(tables).filter_map(|peer| match peer {
        Peer::Address { destination, actual } => Some([destination.ip(), actual.ip()]),
        Peer::Name { .. } | Peer::Overflow => None,
    });
    addresses.flatten().chain(tables.round_trips().iter().map(|(_, ip, _)| ip)).collect()
}

fn holders(tables: &Connections) -> impl Iterator<Item = NameId> {
    peers(tables).filter_map(|peer| match peer {
        Peer::Name { name, .. } => Some(name),
        Peer::Address { .. } | Peer::Overflow => None,
    })
}

/// What workloads connect to, and tried to.
fn peers(tables: &Connections) -> impl Iterator<Item = Peer> {
    let outbound = tables.flows().iter().filter(|(key, _)| key.direction == Direction::Outbound);
    outbound.map(|(key, _)| key.peer).chain(tables.failures().iter().map(|(key, _)| key.peer))
}
