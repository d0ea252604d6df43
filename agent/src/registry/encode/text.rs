//! The two text formats: Prometheus' 0.0.4 and OpenMetrics 1.0.
//!
//! They differ in the type and help lines: OpenMetrics names a counter's family without `_total`, so a counter whose
//! name has no such suffix is of type `unknown` there, and it ends with `# EOF`.

use super::Encoder;
use crate::registry::point::{Point, put_float, put_number};
use crate::registry::{Family, Kind, Labels, Metric, Sample, Scope, Snapshot};

/// Encoder of either format.
#[derive(Debug)]
pub(super) struct Text {
    open_metrics: bool,
    /// The common labels, rendered once.
    common: Vec<u8>,
    /// The same of containers.
    of_containers: Vec<u8>,
}

impl Text {
    pub(super) fn classic(snapshot: &Snapshot) -> Self {
        let (common, of_containers) = (rendered(&snapshot.common), rendered(&snapshot.of_containers));
        Self { open_metrics: false, common, of_containers }
    }

    pub(super) fn open_metrics(snapshot: &Snapshot) -> Self {
        Self { open_metrics: true, ..Self::classic(snapshot) }
    }

    fn family_name_and_type(&self, metric: &Metric) -> (&'static str, &'static str) {
        match (metric.kind, metric.name.strip_suffix("_total")) {
            (Kind::Counter, Some(stem)) if self.open_metrics => (stem, "counter"),
            (Kind::Counter, None) if self.open_metrics => (metric.name, "unknown"),
            (Kind::Counter, _) => (metric.name, "counter"),
            (Kind::Gauge, _) => (metric.name, "gauge"),
            (Kind::Histogram, _) => (metric.name, "histogram"),
        }
    }

    fn line(&self, out: &mut Vec<u8>, metric: &Metric, sample: &Sample, point: Point) {
        out.extend_from_slice(metric.name.as_bytes());
        out.extend_from_slice(point.suffix.as_bytes());
        let opened = out.len();
        let common = if metric.scope == Scope::Container { &self.of_containers } else { &self.common };
        if !common.is_empty() {
            out.push(b'{');
            out.extend_from_slice(common);
        }
        for (name, value) in sample.owner.iter().chain(sample.own.iter()) {
            separate(out, opened);
            put_label(out, name, value);
        }
        if let Some(bound) = point.le {
            separate(out, opened);
            out.extend_from_slice(b"le=\"");
            put_float(out, bound);
            out.push(b'"');
        }
        if out.len() > opened {
            out.push(b'}');
        }
        out.push(b' ');
        put_number(out, point.value);
        out.push(b'\n');
    }
}

impl Encoder for Text {
    fn begin(&mut self, out: &mut Vec<u8>, _common: &Labels, family: &Family) {
        let (name, kind) = self.family_name_and_type(family.metric);
        out.extend_from_slice(b"# HELP ");
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        let quote = if self.open_metrics { Quote::Escaped } else { Quote::Plain };
        put_escaped(out, family.metric.help, quote);
        out.extend_from_slice(b"\n# TYPE ");
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(kind.as_bytes());
        out.push(b'\n');
    }

    fn sample(&mut self, out: &mut Vec<u8>, _common: &Labels, family: &Family, sample: &Sample) {
        for point in sample.value.points() {
            self.line(out, family.metric, sample, point);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.open_metrics {
            out.extend_from_slice(b"# EOF\n");
        }
    }
}

/// Whether quotation marks are escaped, as they must be inside of a label value.
#[derive(Clone, Copy, PartialEq)]
enum Quote {
    Plain,
    Escaped,
}

fn rendered(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels.iter() {
        if !out.is_empty() {
            out.push(b',');
        }
        put_label(&mut out, name, value);
    }
    out
}

fn separate(out: &mut Vec<u8>, opened: usize) {
    out.push(if out.len() == opened { b'{' } else { b',' });
}

fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    put_escaped(out, value, Quote::Escaped);
    out.push(b'"');
}

fn put_escaped(out: &mut Vec<u8>, text: &str, quote: Quote) {
    // Almost no value needs escaping; the fold, unlike a search, is compiled to vector instructions.
    let special = |byte: u8| matches!(byte, b'\\' | b'\n' | b'"');
    if !text.bytes().fold(false, |found, byte| found | special(byte)) {
        return out.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quote == Quote::Escaped => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}
