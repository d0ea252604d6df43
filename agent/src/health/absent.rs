//! What this machine cannot tell: metrics without a source, each with the reason, for `/status` and `doctor`.
//!
//! Made anew for every look, so that a reason never outlives its cause. Bounded by the catalogue, which the keys are of.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kernel::{FeatureId, FeatureStatus, Verdict};
use crate::registry::catalog::{block, container, dns, drops, sched, tcp, udp};
use crate::registry::{Metric, Snapshot};

/// Metrics without a source, one reason each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absent(BTreeMap<&'static str, String>);

/// What one kind of workload or of event lacks on every machine, while others have it: the kind, its metrics, and why.
const IN_PART: [(&str, &[&Metric], &str); 3] = [
    (
        "host executables",
        &[
            &container::RESOURCES_CPU_USAGE_SECONDS_TOTAL,
            &container::RESOURCES_MEMORY_RSS_BYTES,
            &container::RESOURCES_MEMORY_CACHE_BYTES,
            &container::RESOURCES_MEMORY_WORKING_SET_BYTES,
        ],
        "a host executable has no cgroup of its own: the sum over its processes would count shared pages several times, \
         and lose what a process used between the last pass and its end",
    ),
    (
        "host executables",
        &[
            &container::RESOURCES_DISK_READS_TOTAL,
            &container::RESOURCES_DISK_READ_BYTES_TOTAL,
            &container::RESOURCES_DISK_WRITES_TOTAL,
            &container::RESOURCES_DISK_WRITTEN_BYTES_TOTAL,
        ],
        "a host executable has no cgroup of its own: what the kernel writes back later is charged to a group, and no \
         longer to the process that wrote it",
    ),
    (
        "connects that the kernel refuses before they begin",
        &[&tcp::FAILED_CONNECTS_TOTAL, &tcp::CONNECT_FAILURES_TOTAL],
        "where there is no route, or a route or a program at the cgroup forbids it, the socket never leaves the state \
         CLOSE, and failures are told by its changes of state",
    ),
];

/// `[{"of": …, "metrics": […], "reason": …}]`: what one kind of workload or of event lacks while others have it.
pub fn in_part() -> Value {
    let names = |metrics: &[&Metric]| metrics.iter().map(|metric| metric.name).collect::<Vec<_>>();
    IN_PART
        .iter()
        .map(|(of, metrics, reason)| json!({ "of": of, "metrics": names(metrics), "reason": reason }))
        .collect()
}

/// The same for people, as the names of metrics and the reason.
pub fn in_part_lines() -> impl Iterator<Item = (String, &'static str)> {
    IN_PART.iter().map(|(of, metrics, reason)| {
        let names: Vec<_> = metrics.iter().map(|metric| metric.name).collect();
        (format!("{} of {of}", names.join(" ")), *reason)
    })
}

impl Absent {
    /// Says why a metric is absent. The first reason of a metric stays: whoever is asked first knows best.
    pub fn push(&mut self, metric: &'static Metric, reason: impl Into<String>) {
        self.0.entry(metric.name).or_insert_with(|| reason.into());
    }

    /// Says the same of several metrics.
    pub fn push_all(&mut self, metrics: &[&'static Metric], reason: &str) {
        metrics.iter().for_each(|metric| self.push(metric, reason));
    }

    /// Says what only a feature of the kernel half could tell that does not work.
    pub fn push_features(&mut self, features: &[FeatureStatus]) {
        let tells_ends = features.iter().any(|feature| {
            let choice = feature.verdict.choice().unwrap_or_default();
            feature.id == FeatureId::TcpLifecycle && choice.starts_with("tp_btf/")
        });
        for feature in features {
            let detail = feature.verdict.detail();
            let reason = match &feature.verdict {
                Verdict::Ok { choice, .. } => {
                    if let Some((metrics, reason)) = untold(feature.id, choice) {
                        self.push_all(metrics, reason);
                    }
                    if feature.id == FeatureId::DiskIo {
                        // Whatever the files of cgroups lack.
                        self.0.retain(|name, _| !BY_BIO.iter().any(|metric| metric.name == *name));
                    }
                    continue;
                }
                Verdict::Disabled | Verdict::Unwanted { .. } => format!("{}: {detail}", feature.name),
                Verdict::Unsupported { .. } | Verdict::Broken { .. } => {
                    format!("{} does not work: {detail}", feature.name)
                }
            };
            self.push_all(only_by(feature.id), &reason);
            if feature.id == FeatureId::TcpSockets && !tells_ends {
                self.push_all(&TCP_COUNTERS, &reason);
            }
        }
    }

    /// Adds what others have said.
    pub fn extend(&mut self, other: &Self) {
        for (metric, reason) in &other.0 {
            self.0.entry(metric).or_insert_with(|| reason.clone());
        }
    }

    /// Leaves out what a snapshot has after all, be it from one workload only.
    pub fn without_those_in(mut self, snapshot: &Snapshot) -> Self {
        for family in &snapshot.families {
            self.0.remove(family.metric.name);
        }
        self
    }

    /// Names and reasons, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(metric, reason)| (*metric, reason.as_str()))
    }

    /// Reasons, each with the names of all metrics that are absent for it.
    pub fn by_reason(&self) -> BTreeMap<&str, Vec<&'static str>> {
        let mut reasons: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        for (metric, reason) in self.iter() {
            reasons.entry(reason).or_default().push(metric);
        }
        reasons
    }

    /// `[{"metric": …, "reason": …}]`
    pub fn json(&self) -> Value {
        self.iter().map(|(metric, reason)| json!({ "metric": metric, "reason": reason })).collect()
    }
}

/// Metrics without any other source.
fn only_by(feature: FeatureId) -> &'static [&'static Metric] {
    match feature {
        FeatureId::TcpLifecycle => &TCP_TRANSITIONS,
        FeatureId::TcpSockets => &TCP_NUMBERS,
        FeatureId::ProcessTasks => &WAITED,
        FeatureId::ProcessFiles => &OPEN_FILES,
        FeatureId::RunQueue => &RUN_QUEUE,
        FeatureId::DiskLatency => &DISK_LATENCY,
        FeatureId::Drops => &DROPS,
        FeatureId::UdpTraffic => &UDP_TRAFFIC,
        FeatureId::UdpSockets => &UDP_DROPS,
        FeatureId::DnsAnswers => &NAMES,
        // Files of cgroups count the same, or it only completes what another feature counts.
        FeatureId::ProcessExits
        | FeatureId::ProcessOom
        | FeatureId::DiskIo
        | FeatureId::TcpUnfiled
        | FeatureId::CgroupDirectories
        | FeatureId::UdpPeers
        | FeatureId::UdpReleases => &[],
    }
}

static TCP_TRANSITIONS: [&Metric; 8] = [
    &tcp::SUCCESSFUL_CONNECTS_TOTAL,
    &tcp::CONNECTION_TIME_SECONDS_TOTAL,
    &tcp::FAILED_CONNECTS_TOTAL,
    &tcp::CONNECT_FAILURES_TOTAL,
    &tcp::CONNECT_DURATION_SECONDS,
    &tcp::RESETS_TOTAL,
    &tcp::INBOUND_CONNECTIONS_TOTAL,
    &tcp::INBOUND_RESETS_TOTAL,
];
/// Of open sockets.
static TCP_NUMBERS: [&Metric; 3] =
    [&tcp::LISTEN_BACKLOG, &tcp::LISTEN_BACKLOG_MAX, &tcp::LISTEN_OVERFLOWS_TOTAL];
/// Of open sockets, and at their end where the hook passes the socket.
static TCP_COUNTERS: [&Metric; 9] = [
    &tcp::LATENCY_SECONDS,
    &tcp::MIN_RTT_SECONDS,
    &tcp::RETRANSMITS_TOTAL,
    &tcp::BYTES_SENT_TOTAL,
    &tcp::BYTES_RECEIVED_TOTAL,
    &tcp::LISTEN_DROPS_TOTAL,
    &tcp::INBOUND_RETRANSMITS_TOTAL,
    &tcp::INBOUND_BYTES_SENT_TOTAL,
    &tcp::INBOUND_BYTES_RECEIVED_TOTAL,
];
/// `/proc` tells the waiting for CPUs as well.
static WAITED: [&Metric; 1] = [&container::RESOURCES_DISK_DELAY_SECONDS_TOTAL];
static OPEN_FILES: [&Metric; 3] = [
    &container::RESOURCES_OPEN_FILES,
    &container::RESOURCES_OPEN_SOCKETS,
    &container::RESOURCES_OPEN_FILES_LIMIT_RATIO,
];
static RUN_QUEUE: [&Metric; 1] = [&sched::RUNQUEUE_LATENCY_SECONDS];
static DISK_LATENCY: [&Metric; 2] = [&block::READ_LATENCY_SECONDS, &block::WRITE_LATENCY_SECONDS];
static DROPS: [&Metric; 1] = [&drops::DROPPED_TOTAL];
static UDP_TRAFFIC: [&Metric; 5] = [
    &udp::BYTES_SENT_TOTAL,
    &udp::BYTES_RECEIVED_TOTAL,
    &udp::MESSAGES_SENT_TOTAL,
    &udp::MESSAGES_RECEIVED_TOTAL,
    &udp::ERRORS_TOTAL,
];
static UDP_ERRORS: [&Metric; 1] = [&udp::ERRORS_TOTAL];
static DISCARDS: [&Metric; 2] =
    [&container::RESOURCES_DISK_DISCARDED_BYTES_TOTAL, &container::RESOURCES_DISK_DISCARDS_TOTAL];
static BY_BIO: [&Metric; 4] = [
    &container::RESOURCES_DISK_READS_TOTAL,
    &container::RESOURCES_DISK_READ_BYTES_TOTAL,
    &container::RESOURCES_DISK_WRITES_TOTAL,
    &container::RESOURCES_DISK_WRITTEN_BYTES_TOTAL,
];
static UDP_DROPS: [&Metric; 1] = [&udp::RECEIVE_DROPS_TOTAL];
static NAMES: [&Metric; 1] = [&dns::IP_TO_FQDN];

/// Metrics that the choice taken cannot tell, with the reason.
fn untold(feature: FeatureId, choice: &str) -> Option<(&'static [&'static Metric], &'static str)> {
    match feature {
        FeatureId::UdpTraffic if choice == "cgroup_skb" => Some((
            &UDP_ERRORS,
            "udp/traffic counts packets here (cgroup_skb), which do not tell of calls that fail",
        )),
        // In no choice: what is discarded is one request of any size, and no traffic.
        FeatureId::DiskIo => Some((
            &DISCARDS,
            "block/io counts reads and writes here, and no discards: those are counted by io.stat alone",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_one_reason_and_it_is_the_first() {
        let mut absent = Absent::default();
        absent.push(&container::RESTARTS_TOTAL, "known best");
        absent.push_all(&[&container::INFO, &container::RESTARTS_TOTAL], "guessed");
        let expected = json!([
            { "metric": "container_info", "reason": "guessed" },
            { "metric": "container_restarts_total", "reason": "known best" },
        ]);
        assert_eq!(absent.json(), expected);
    }

    #[test]
    fn a_feature_explains_what_only_it_tells_and_a_choice_what_it_cannot() {
        let taken = |choice: &str| Verdict::Ok { choice: choice.to_owned(), refused: Vec::new() };
        let reasons = |id, verdict| {
            let mut absent = Absent::default();
            absent.push_features(&[FeatureStatus::new(id, verdict)]);
            absent
        };
        let sockets = reasons(FeatureId::TcpSockets, Verdict::Broken { reason: "why".to_owned() });
        assert_eq!(sockets.iter().count(), TCP_NUMBERS.len() + TCP_COUNTERS.len());
        for id in FeatureId::ALL.iter().filter(|id| **id != FeatureId::TcpSockets) {
            let untold: &[&Metric] = if *id == FeatureId::DiskIo { &DISCARDS } else { &[] };
            let names: Vec<_> = untold.iter().map(|metric| metric.name).collect();
            let told = reasons(*id, taken("tp_btf/any"));
            assert_eq!(told.iter().map(|(name, _)| name).collect::<Vec<_>>(), names, "{id}");
            let absent = reasons(*id, Verdict::Broken { reason: "why".to_owned() });
            let told: Vec<&str> = absent.iter().map(|(_, reason)| reason).collect();
            assert_eq!(told, vec![format!("{id} does not work: why"); only_by(*id).len()]);
        }
        let packets = reasons(FeatureId::UdpTraffic, taken("cgroup_skb"));
        assert_eq!(packets.iter().map(|(name, _)| name).collect::<Vec<_>>(), [udp::ERRORS_TOTAL.name]);
        let mut absent = Absent::default();
        absent.push_all(&[BY_BIO[0], DISCARDS[0]], "no file counts it");
        absent.push_features(&[FeatureStatus::new(FeatureId::DiskIo, taken("tp_btf/block_bio_queue"))]);
        let names: Vec<_> = absent.iter().map(|(name, _)| name).collect();
        assert_eq!(names, DISCARDS.map(|metric| metric.name), "what bio counts is not absent");
        let off = reasons(FeatureId::Drops, Verdict::Unwanted { reason: "off unless asked for".to_owned() });
        let expected =
            json!([{ "metric": drops::DROPPED_TOTAL.name, "reason": "drops/reasons: off unless asked for" }]);
        assert_eq!(off.json(), expected);
    }
}
