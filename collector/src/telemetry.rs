//! Own metrics of the collector, `sonde_collector_*`, in the text format 0.0.4.

use std::fmt::Write;

use crate::ingest::IngestStats;
use crate::pipeline::PipelineStats;

/// `Content-Type` of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes all metrics.
pub fn exposition(ingest: &IngestStats, pipeline: &PipelineStats) -> String {
    let mut text = Text::default();
    text.one(
        "build_info",
        "gauge",
        "Version of the program.",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    write_ingest(&mut text, ingest);
    write_log(&mut text, pipeline);
    write_targets(&mut text, pipeline);
    text.0
}

fn write_ingest(text: &mut Text, ingest: &IngestStats) {
    let (requests, bytes, samples) = ingest.totals();
    text.counter(
        "received_requests_total",
        "Requests of which all, or the valid part, was stored.",
        requests,
    );
    text.counter("received_bytes_total", "Bytes of their bodies.", bytes);
    text.counter("received_samples_total", "Samples stored.", samples);
    text.head("refused_requests_total", "counter", "Requests refused as a whole.");
    for (reason, count) in ingest.refused_requests_by_reason() {
        text.sample("refused_requests_total", &[("reason", reason)], count as f64);
    }
    text.head(
        "refused_samples_total",
        "counter",
        "Samples refused while the rest of their request was stored.",
    );
    for (reason, count) in ingest.refused_samples_by_reason() {
        text.sample("refused_samples_total", &[("reason", reason)], count as f64);
    }
}

fn write_log(text: &mut Text, pipeline: &PipelineStats) {
    let log = &pipeline.log;
    text.one("log_bytes", "gauge", "Bytes of all segments.", &[], log.bytes as f64);
    text.one("log_max_bytes", "gauge", "Bound on them.", &[], log.max_bytes as f64);
    text.one("log_segments", "gauge", "Segments.", &[], log.segments as f64);
    text.one("log_oldest_age_seconds", "gauge", "Age of the oldest segment.", &[], log.oldest_age_seconds);
    text.counter("log_appended_records_total", "Records appended.", log.appended_records);
    text.counter("log_appended_samples_total", "Samples appended.", log.appended_samples);
    text.counter("log_appended_bytes_total", "Bytes appended.", log.appended_bytes);
    text.head("log_refused_appends_total", "counter", "Appends refused by the disk.");
    text.sample("log_refused_appends_total", &[("reason", "disk_full")], log.refused_disk_full as f64);
    text.sample("log_refused_appends_total", &[("reason", "io")], log.refused_io as f64);
    text.counter("log_syncs_total", "Groups of appends made durable by fdatasync.", log.syncs);
    text.counter(
        "log_sync_failures_total",
        "Failed fdatasync calls; each abandoned a segment.",
        log.sync_failures,
    );
    text.one(
        "log_torn_bytes",
        "gauge",
        "Half-written bytes cut off at the start.",
        &[],
        log.torn_bytes as f64,
    );
    text.counter("log_removed_segments_total", "Segments removed.", log.segments_removed);
}

fn write_targets(text: &mut Text, pipeline: &PipelineStats) {
    type Value = fn(&crate::pipeline::TargetStats) -> f64;
    let metrics: [(&str, &str, &str, Value); 8] = [
        ("target_healthy", "gauge", "1 unless the last request failed.", |target| {
            f64::from(u8::from(target.healthy))
        }),
        ("target_pending_samples", "gauge", "Samples not delivered yet.", |target| {
            target.pending_samples as f64
        }),
        ("target_pending_bytes", "gauge", "Bytes not delivered yet.", |target| target.pending_bytes as f64),
        ("target_lag_seconds", "gauge", "Age of the oldest of them.", |target| target.lag_seconds),
        ("target_sent_samples_total", "counter", "Samples delivered.", |target| target.sent_samples as f64),
        ("target_sent_requests_total", "counter", "Requests answered by 2xx.", |target| {
            target.sent_requests as f64
        }),
        ("target_sent_bytes_total", "counter", "Bytes of their bodies.", |target| target.sent_bytes as f64),
        ("target_retries_total", "counter", "Requests that failed and were tried again.", |target| {
            target.retries as f64
        }),
    ];
    for (name, kind, help, value) in metrics {
        text.head(name, kind, help);
        for (target, stats) in &pipeline.targets {
            text.sample(name, &[("target", target)], value(stats));
        }
    }
    text.head("target_dropped_samples_total", "counter", "Samples that a target will never get.");
    for (target, stats) in &pipeline.targets {
        for (reason, count) in &stats.dropped_samples {
            text.sample(
                "target_dropped_samples_total",
                &[("target", target), ("reason", reason)],
                *count as f64,
            );
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "counter", help, &[], value as f64);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.head(name, kind, help);
        self.sample(name, labels, value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ =
            writeln!(self.0, "# HELP sonde_collector_{name} {help}\n# TYPE sonde_collector_{name} {kind}");
    }

    /// Values of labels are names that the configuration allows, or reasons: nothing in them needs escaping.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        let _ = writeln!(self.0, "sonde_collector_{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::TargetStats;

    #[test]
    fn each_metric_is_described_once_and_losses_carry_their_reason() {
        let mut pipeline = PipelineStats::default();
        let dropped = [("expired".to_string(), 7)].into();
        pipeline
            .targets
            .insert("tsdb".into(), TargetStats { dropped_samples: dropped, ..TargetStats::default() });
        let text = exposition(&IngestStats::default(), &pipeline);
        let mut heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = heads.len();
        heads.sort();
        heads.dedup();
        assert_eq!(heads.len(), count);
        assert!(text.contains(
            "sonde_collector_target_dropped_samples_total{target=\"tsdb\",reason=\"expired\"} 7\n"
        ));
        assert!(text.contains("sonde_collector_refused_requests_total{reason=\"too_large_decoded\"} 0\n"));
    }
}
