use super::*;
use crate::model::UnixMillis;
use crate::registry::{Labels, Snapshot, SnapshotBuilder, Value};

const NOW: BootNanos = BootNanos(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn totals(networks: &[&str], zone: Option<&str>) -> NodeTotals {
    let mut table = Networks::default();
    networks.iter().for_each(|text| table.add(text.parse().unwrap()).unwrap());
    NodeTotals::new(table, zone.map(Into::into))
}

fn lines(totals: &NodeTotals) -> Vec<String> {
    let mut builder = SnapshotBuilder::default();
    totals.collect(&mut builder);
    let snapshot: Snapshot = builder.build(UnixMillis(1), Labels::empty());
    assert_eq!(snapshot.rejections.by_reason().into_iter().map(|(_, count)| count).sum::<u64>(), 0);
    let mut lines = Vec::new();
    for family in snapshot.families.iter().filter(|family| family.metric.name.starts_with("node_net_")) {
        for sample in &family.samples {
            let labels: Vec<String> =
                sample.own.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let Value::Number(value) = sample.value else { panic!("a histogram") };
            let name = family.metric.name.trim_start_matches("node_net_");
            lines.push(format!("{name} {} {value}", labels.join(" ")));
        }
    }
    lines.sort();
    lines
}

#[test]
fn bytes_and_connections_are_told_apart_by_zone_and_class() {
    let mut totals = totals(&["10.1.0.0/16=a", "10.2.0.0/16=b/vpc", "203.0.113.0/24=/partner"], Some("a"));
    for (peer, bytes) in [
        ("10.1.9.9", 1),
        ("10.2.9.9", 2),
        ("203.0.113.9", 4),
        ("8.8.8.8", 8),
        ("192.168.1.1", 16),
        ("127.0.0.1", 32),
    ] {
        totals.add(ip(peer), bytes, 100 * bytes);
    }
    totals.add_connection(ip("10.2.9.9"), Direction::Outbound);
    totals.add_connection(ip("10.2.9.8"), Direction::Inbound);
    let sent: Vec<String> =
        lines(&totals).into_iter().filter(|line| line.starts_with("traffic_sent")).collect();
    assert_eq!(
        sent,
        [
            "traffic_sent_bytes_total class=loopback cross_zone=false protocol=tcp zone=a 32",
            "traffic_sent_bytes_total class=partner protocol=tcp 4",
            "traffic_sent_bytes_total class=private cross_zone=false protocol=tcp zone=a 1",
            "traffic_sent_bytes_total class=private protocol=tcp 16",
            "traffic_sent_bytes_total class=public protocol=tcp 8",
            "traffic_sent_bytes_total class=vpc cross_zone=true protocol=tcp zone=b 2",
        ]
    );
    let lines = lines(&totals);
    for expected in [
        "tcp_connections_total class=vpc cross_zone=true direction=inbound zone=b 1",
        "tcp_connections_total class=vpc cross_zone=true direction=outbound zone=b 1",
        "traffic_received_bytes_total class=vpc cross_zone=true protocol=tcp zone=b 200",
        "zone_info zone=a 1",
    ] {
        assert!(lines.iter().any(|line| line == expected), "no {expected} in {lines:#?}");
    }
}

#[test]
fn an_address_of_this_node_is_local_whatever_its_network() {
    let mut totals = totals(&["10.0.0.0/8=b"], Some("a"));
    let (client, server) = (ip("10.0.0.1"), ip("10.0.0.2"));
    totals.learn(server, NOW);
    totals.learn(client, NOW);
    totals.add(server, 5, 7);
    totals.add(client, 7, 5);
    assert_eq!(totals.tcp.len(), 1);
    let local = totals.tcp[&Place { network: None, class: Class::Local }];
    assert_eq!((local.sent, local.received), (12, 12), "each socket has its own view");
    totals.set_host_addresses(vec![ip("10.0.0.3")]);
    totals.add(ip("::ffff:10.0.0.3"), 1, 1);
    assert_eq!(totals.tcp.len(), 1);
    totals.expire(BootNanos(u64::MAX));
    totals.add(server, 1, 1);
    let other = Place { network: Some(0), class: Class::Private };
    assert!(totals.tcp.contains_key(&other), "it may be another node's by now");
}

#[test]
fn the_own_zone_comes_from_configuration_or_the_cloud_or_the_own_addresses() {
    let networks = ["10.1.0.0/16=a", "10.2.0.0/16=b", "10.3.0.0/16=/x"];
    let mut totals = totals(&networks, None);
    assert_eq!(totals.own_zone(), None);
    totals.set_host_addresses(["10.1.0.5", "127.0.0.1", "10.3.0.1", "192.168.1.1"].map(ip).into());
    assert_eq!(totals.own_zone(), Some("a"));
    totals.set_host_addresses(["10.1.0.5", "10.2.0.5"].map(ip).into());
    assert_eq!(totals.own_zone(), None, "they do not agree");
    totals.set_cloud_zone("c");
    assert_eq!(totals.own_zone(), Some("c"));
    totals.configured_zone = Some("d".into());
    assert_eq!(totals.own_zone(), Some("d"));
}

#[test]
fn without_a_zone_nothing_is_said_about_crossing_and_without_traffic_nothing_at_all() {
    let mut totals = totals(&["10.1.0.0/16=a"], None);
    assert!(lines(&totals).is_empty());
    totals.add(ip("10.1.0.9"), 3, 4);
    totals.add(ip("127.0.0.1"), 1, 2);
    let bytes: Vec<String> = lines(&totals).into_iter().filter(|line| line.starts_with("traffic")).collect();
    assert_eq!(
        bytes,
        [
            "traffic_received_bytes_total class=loopback protocol=tcp 2",
            "traffic_received_bytes_total class=private protocol=tcp zone=a 4",
            "traffic_sent_bytes_total class=loopback protocol=tcp 1",
            "traffic_sent_bytes_total class=private protocol=tcp zone=a 3",
        ]
    );
}

#[test]
fn datagrams_have_a_place_of_their_own_and_what_found_none_is_shown() {
    let mut totals = totals(&["10.2.0.0/16=b"], Some("a"));
    totals.learn(ip("10.2.0.1"), NOW);
    for (peer, bytes) in [("10.2.9.9", 1), ("10.2.8.8", 2), ("10.2.0.1", 4), ("::1", 8), ("ff02::1", 16)] {
        totals.add_datagrams(ip(peer), bytes, 0);
    }
    totals.set_datagrams_rest(32, 64);
    totals.set_datagrams_rest(64, 64);
    let sent: Vec<String> =
        lines(&totals).into_iter().filter(|line| line.starts_with("traffic_sent")).collect();
    assert_eq!(
        sent,
        [
            "traffic_sent_bytes_total class=local cross_zone=false protocol=udp zone=a 4",
            "traffic_sent_bytes_total class=loopback cross_zone=false protocol=udp zone=a 8",
            "traffic_sent_bytes_total class=multicast protocol=udp 16",
            "traffic_sent_bytes_total class=private cross_zone=true protocol=udp zone=b 3",
            "traffic_sent_bytes_total class=~overflow protocol=udp 64",
        ]
    );
}
