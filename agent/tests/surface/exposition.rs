//! The three formats: goldens, and that every label value survives the way through each of them.

use std::sync::Arc;

use proptest::prelude::*;
use sonde_agent::model::UnixMillis;
use sonde_agent::model::{Buckets, Histogram};
use sonde_agent::registry::catalog::{agent, container, tcp};
use sonde_agent::registry::{Exposition, Format, Kind, Labels, Metric, Scope, Snapshot, SnapshotBuilder};

use crate::{golden, protobuf};

/// A counter with a name that a peer fixed before the suffix was a rule.
static ODD_COUNTER: Metric = Metric {
    name: "container_jvm_gc_time_seconds",
    kind: Kind::Counter,
    scope: Scope::Container,
    help: "Says \"time\" in\\of collections",
    labels: &["gc"],
    source: "a test",
};

/// Encodes in one piece.
pub fn encode(snapshot: Snapshot, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(!Exposition::new(Arc::new(snapshot), format).fill(&mut out, usize::MAX));
    out
}

fn sample_snapshot() -> Snapshot {
    let web = Labels::new([("container_id", "/docker/web"), ("app_id", "web")]);
    let none = Labels::empty();
    let mut builder = SnapshotBuilder::default();
    let connects = Labels::new([("destination", "10.0.0.1:80"), ("actual_destination", "172.17.0.2:8080")]);
    builder.number(&tcp::SUCCESSFUL_CONNECTS_TOTAL, &web, &connects, 1234.0);
    builder.number(&tcp::CONNECTION_TIME_SECONDS_TOTAL, &web, &connects, 0.000_125);
    builder.number(&tcp::LISTEN_INFO, &web, &Labels::new([("listen_addr", "[::]:80")]), 1.0);
    let image = Labels::new([("image", "a\\b\"c\nd")]);
    builder.number(&container::INFO, &web, &image, 1.0);
    builder.number(&container::RESOURCES_CPU_LIMIT_CORES, &web, &none, 1e300);
    builder.number(&container::RESOURCES_MEMORY_LIMIT_BYTES, &web, &none, f64::INFINITY);
    builder.number(&ODD_COUNTER, &web, &Labels::new([("gc", "G1")]), 2.5);
    let mut scrapes = Histogram::new(Buckets::AGENT);
    [0.001, 0.002, 0.3, 12.0].into_iter().for_each(|seconds| scrapes.observe(seconds));
    builder.histogram(&agent::SCRAPE_DURATION_SECONDS, &none, &none, &Arc::new(scrapes));
    builder.build(UnixMillis(1_700_000_000_000), Labels::new([("machine_id", "m1"), ("system_uuid", "u1")]))
}

#[test]
fn text() {
    golden::check("metrics.txt", &String::from_utf8(encode(sample_snapshot(), Format::Text)).unwrap());
}

#[test]
fn open_metrics() {
    let encoded = String::from_utf8(encode(sample_snapshot(), Format::OpenMetrics)).unwrap();
    golden::check("metrics.openmetrics.txt", &encoded);
}

#[test]
fn protobuf() {
    let families = protobuf::decode(&encode(sample_snapshot(), Format::Protobuf));
    golden::check("metrics.protobuf.txt", &format!("{families:#?}\n"));
}

#[test]
fn an_empty_snapshot_is_a_valid_answer() {
    let empty =
        Snapshot { families: Vec::new(), ..SnapshotBuilder::default().build(UnixMillis(0), Labels::empty()) };
    let empty = Arc::new(empty);
    for (format, expected) in [(Format::Text, ""), (Format::OpenMetrics, "# EOF\n"), (Format::Protobuf, "")] {
        let mut out = Vec::new();
        assert!(!Exposition::new(empty.clone(), format).fill(&mut out, 1));
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn pieces_add_up_to_the_whole() {
    let snapshot = Arc::new(sample_snapshot());
    for format in Format::ALL {
        let mut whole = Vec::new();
        Exposition::new(snapshot.clone(), format).fill(&mut whole, usize::MAX);
        let (mut pieces, mut joined) = (Exposition::new(snapshot.clone(), format), Vec::new());
        let mut more = true;
        while more {
            let mut piece = Vec::new();
            more = pieces.fill(&mut piece, 1);
            joined.append(&mut piece);
        }
        assert_eq!(joined, whole, "{format:?}");
    }
}

proptest! {
    #[test]
    fn any_label_value_survives(value in "\\PC*|[\"\\\\\n,{}= a-z]{0,20}", common in "[^\\x00]{1,8}") {
        for format in Format::ALL {
            let mut builder = SnapshotBuilder::default();
            builder.number(&container::INFO, &Labels::empty(), &Labels::new([("image", &*value)]), 1.0);
            let snapshot = builder.build(UnixMillis(0), Labels::new([("machine_id", &*common)]));
            let mut expected = vec![("machine_id".to_owned(), common.clone())];
            if !value.is_empty() {
                expected.push(("image".to_owned(), value.clone()));
            }
            prop_assert_eq!(labels_of_container_info(&encode(snapshot, format), format), expected);
        }
    }
}

fn labels_of_container_info(encoded: &[u8], format: Format) -> Vec<(String, String)> {
    if format == Format::Protobuf {
        let families = protobuf::decode(encoded);
        let family = families.into_iter().find(|family| family.name == "container_info").unwrap();
        return family.metric[0].label.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
    }
    let text = std::str::from_utf8(encoded).unwrap();
    parse_labels(
        text.lines().find(|line| line.starts_with("container_info{")).expect("container_info in one line"),
    )
}

/// Labels of a line of a text format.
fn parse_labels(line: &str) -> Vec<(String, String)> {
    let mut rest = line[line.find('{').unwrap() + 1..].chars();
    let mut labels = Vec::new();
    loop {
        let name: String = rest.by_ref().take_while(|c| *c != '=').collect();
        assert_eq!(rest.next(), Some('"'));
        let mut value = String::new();
        loop {
            match rest.next().expect("a closing quotation mark") {
                '"' => break,
                '\\' => value.push(match rest.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("escaped {other:?}"),
                }),
                c => value.push(c),
            }
        }
        labels.push((name, value));
        match rest.next() {
            Some(',') => {}
            Some('}') => return labels,
            other => panic!("{other:?} after a label"),
        }
    }
}
