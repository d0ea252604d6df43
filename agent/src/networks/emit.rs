//! The totals as series. What was never counted is absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::classes::Class;
use super::totals::{NodeTotals, Place, Traffic};
use crate::registry::catalog::node as catalog;
use crate::registry::{Labels, SnapshotBuilder};

/// The class of what found no room to be told apart.
const OVERFLOW: &str = "~overflow";

/// Zone, class, and whether the zone is another one than this node's.
type Described<'a> = (&'a str, &'a str, &'static str);

impl NodeTotals {
    /// Adds the series. Several networks of one zone and class are one series.
    pub fn collect(&self, builder: &mut SnapshotBuilder) {
        let none = Labels::empty();
        if let Some(zone) = self.own_zone() {
            builder.number(&catalog::NET_ZONE_INFO, &none, &Labels::new([("zone", zone)]), 1.0);
        }
        for (described, traffic) in self.describe(&self.tcp) {
            bytes(described, "tcp", traffic, builder);
            for (direction, count) in [("outbound", traffic.outbound), ("inbound", traffic.inbound)] {
                let own = labels(described, ("direction", direction));
                builder.number(&catalog::NET_TCP_CONNECTIONS_TOTAL, &none, &own, count as f64);
            }
        }
        for (described, traffic) in self.describe(&self.udp) {
            bytes(described, "udp", traffic, builder);
        }
        if self.udp_rest != Traffic::default() {
            bytes(("", OVERFLOW, ""), "udp", self.udp_rest, builder);
        }
    }

    /// What stands behind each set of labels.
    fn describe(&self, totals: &BTreeMap<Place, Traffic>) -> BTreeMap<Described<'_>, Traffic> {
        let own = self.own_zone();
        let mut described: BTreeMap<Described<'_>, Traffic> = BTreeMap::new();
        for (place, traffic) in totals {
            let network = place.network.map(|index| self.networks.get(index));
            let zone = match place.class {
                Class::Loopback | Class::Local => own,
                _ => network.and_then(|network| network.zone.as_deref()),
            };
            let class = network.and_then(|network| network.class.as_deref()).unwrap_or(place.class.as_str());
            let crossing = match (own, zone) {
                (Some(own), Some(zone)) if own == zone => "false",
                (Some(_), Some(_)) => "true",
                _ => "",
            };
            let sum = described.entry((zone.unwrap_or_default(), class, crossing)).or_default();
            sum.sent += traffic.sent;
            sum.received += traffic.received;
            sum.outbound += traffic.outbound;
            sum.inbound += traffic.inbound;
        }
        described
    }
}

fn bytes(described: Described<'_>, protocol: &str, traffic: Traffic, builder: &mut SnapshotBuilder) {
    let (none, own) = (Labels::empty(), labels(described, ("protocol", protocol)));
    builder.number(&catalog::NET_TRAFFIC_SENT_BYTES_TOTAL, &none, &own, traffic.sent as f64);
    builder.number(&catalog::NET_TRAFFIC_RECEIVED_BYTES_TOTAL, &none, &own, traffic.received as f64);
}

fn labels((zone, class, cross_zone): Described<'_>, own: (&'static str, &str)) -> Arc<Labels> {
    Labels::new([own, ("zone", zone), ("class", class), ("cross_zone", cross_zone)])
}
