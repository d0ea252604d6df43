//! Prometheus' protobuf format: `io.prometheus.client.MetricFamily` messages, each after its length.
//!
//! A message is written after its length, so each is walked once to measure it and once to write it; both walks are
//! the same code with a different [`Sink`], and neither allocates.

use super::Encoder;
use crate::model::Histogram;
use crate::registry::{Family, Kind, Labels, Sample, Value};

/// Encoder of the format.
#[derive(Debug)]
pub(super) struct Protobuf;

impl Encoder for Protobuf {
    fn begin(&mut self, out: &mut Vec<u8>, common: &Labels, family: &Family) {
        let mut length = Length(0);
        Header(family).put(&mut length);
        for sample in &family.samples {
            length.message(FAMILY_METRIC, &Metric { common, kind: family.metric.kind, sample });
        }
        out.varint(length.0 as u64);
        Header(family).put(out);
    }

    fn sample(&mut self, out: &mut Vec<u8>, common: &Labels, family: &Family, sample: &Sample) {
        out.message(FAMILY_METRIC, &Metric { common, kind: family.metric.kind, sample });
    }

    fn end(&mut self, _out: &mut Vec<u8>) {}
}

/// Number of the field `MetricFamily.metric`.
const FAMILY_METRIC: u32 = 4;

/// The fields of a `MetricFamily` before its metrics.
struct Header<'a>(&'a Family);

impl Message for Header<'_> {
    fn put(&self, sink: &mut impl Sink) {
        let metric = self.0.metric;
        sink.string(1, metric.name);
        sink.string(2, metric.help);
        sink.integer(3, type_of(metric.kind));
    }
}

/// `MetricType` of the format's definition.
fn type_of(kind: Kind) -> u64 {
    match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    }
}

struct Metric<'a> {
    common: &'a Labels,
    kind: Kind,
    sample: &'a Sample,
}

impl Message for Metric<'_> {
    fn put(&self, sink: &mut impl Sink) {
        let labels = self.common.iter().chain(self.sample.owner.iter()).chain(self.sample.own.iter());
        for (name, value) in labels {
            sink.message(1, &LabelPair { name, value });
        }
        match (&self.sample.value, self.kind) {
            (Value::Number(number), Kind::Counter) => sink.message(3, &Number(*number)),
            (Value::Number(number), _) => sink.message(2, &Number(*number)),
            (Value::Histogram(histogram), _) => sink.message(7, &**histogram),
        }
    }
}

struct LabelPair<'a> {
    name: &'a str,
    value: &'a str,
}

impl Message for LabelPair<'_> {
    fn put(&self, sink: &mut impl Sink) {
        sink.string(1, self.name);
        sink.string(2, self.value);
    }
}

/// `Counter` and `Gauge` alike.
struct Number(f64);

impl Message for Number {
    fn put(&self, sink: &mut impl Sink) {
        sink.double(1, self.0);
    }
}

/// The bucket `+Inf` is left out: the count stands for it.
impl Message for Histogram {
    fn put(&self, sink: &mut impl Sink) {
        sink.integer(1, self.count());
        sink.double(2, self.sum());
        for (bound, count) in self.cumulative() {
            sink.message(3, &Bucket { bound, count });
        }
    }
}

struct Bucket {
    bound: f64,
    count: u64,
}

impl Message for Bucket {
    fn put(&self, sink: &mut impl Sink) {
        sink.integer(1, self.count);
        sink.double(2, self.bound);
    }
}

/// Something with numbered fields.
trait Message {
    fn put(&self, sink: &mut impl Sink);
}

/// Takes the fields of a message: to write them, or to add up their lengths.
trait Sink: Sized {
    fn varint(&mut self, value: u64);
    fn bytes(&mut self, bytes: &[u8]);

    fn key(&mut self, field: u32, wire_type: WireType) {
        self.varint(u64::from(field << 3) | wire_type as u64);
    }

    fn integer(&mut self, field: u32, value: u64) {
        self.key(field, WireType::Varint);
        self.varint(value);
    }

    fn double(&mut self, field: u32, value: f64) {
        self.key(field, WireType::Fixed64);
        self.bytes(&value.to_le_bytes());
    }

    fn string(&mut self, field: u32, value: &str) {
        self.key(field, WireType::Length);
        self.varint(value.len() as u64);
        self.bytes(value.as_bytes());
    }

    fn message(&mut self, field: u32, message: &impl Message) {
        let mut length = Length(0);
        message.put(&mut length);
        self.key(field, WireType::Length);
        self.varint(length.0 as u64);
        message.put(self);
    }
}

/// How a field's value is laid out.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
}

/// Adds up.
struct Length(usize);

impl Sink for Length {
    fn varint(&mut self, value: u64) {
        let bits = 64 - (value | 1).leading_zeros() as usize;
        self.0 += bits.div_ceil(7);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn message(&mut self, field: u32, message: &impl Message) {
        let mut length = Length(0);
        message.put(&mut length);
        self.key(field, WireType::Length);
        self.varint(length.0 as u64);
        self.0 += length.0;
    }
}

impl Sink for Vec<u8> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_varint_is_as_long_as_a_written_one() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let (mut length, mut out) = (Length(0), Vec::new());
                length.varint(value);
                out.varint(value);
                assert_eq!(length.0, out.len(), "{value}");
            }
        }
    }
}
