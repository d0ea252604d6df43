//! Remote write 1.0: the `prometheus.WriteRequest` message and its encoding (protobuf in a snappy block).
//!
//! Exemplars, native histograms and metadata are extensions of Prometheus in the same message; they are carried.

use prost::Message;

/// `Content-Type` of a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// `Content-Encoding` of a request.
pub const CONTENT_ENCODING: &str = "snappy";
/// Header with the protocol's version.
pub const VERSION_HEADER: &str = "x-prometheus-remote-write-version";
/// The version spoken here.
pub const VERSION: &str = "0.1.0";
/// Label that holds the name of the metric.
pub const NAME_LABEL: &str = "__name__";
/// Bits of the NaN that says a series has ended.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The body of a request.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// Series with their samples.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// Type and help of metrics.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<MetricMetadata>,
}

/// One series.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Sorted by name, unique, none empty.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// In order of time.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Exemplars.
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Exemplar>,
    /// Native histograms, in order of time.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// A label.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Label {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A value at a time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// Value; its bits are kept, since one NaN means that the series ended.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// An example of what was counted, such as a trace.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// Labels of its own.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Value.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// Type and help of one metric.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MetricMetadata {
    /// Type.
    #[prost(enumeration = "MetricType", tag = "1")]
    pub r#type: i32,
    /// Name without suffixes.
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    /// Help text.
    #[prost(string, tag = "4")]
    pub help: String,
    /// Unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    /// Not said.
    Unknown = 0,
    /// Only grows.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Buckets.
    Histogram = 3,
    /// Buckets of gauges.
    GaugeHistogram = 4,
    /// Quantiles.
    Summary = 5,
    /// Constant information in labels.
    Info = 6,
    /// One of several states.
    StateSet = 7,
}

/// A native histogram.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// Observations.
    #[prost(oneof = "HistogramCount", tags = "1, 2")]
    pub count: Option<HistogramCount>,
    /// Sum of observations.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// Resolution; −53 means custom bounds.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// Width of the zero bucket.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    #[prost(oneof = "HistogramZeroCount", tags = "6, 7")]
    pub zero_count: Option<HistogramZeroCount>,
    /// Spans of negative buckets.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// Counts of negative buckets, as differences.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// Counts of negative buckets, as floats.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// Spans of positive buckets.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// Counts of positive buckets, as differences.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Counts of positive buckets, as floats.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// Whether the counter began anew: 0 unknown, 1 yes, 2 no, 3 gauge.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// Custom bounds.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
}

/// Number of observations.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum HistogramCount {
    /// Integer histogram.
    #[prost(uint64, tag = "1")]
    Int(u64),
    /// Float histogram.
    #[prost(double, tag = "2")]
    Float(f64),
}

/// Number of observations in the zero bucket.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum HistogramZeroCount {
    /// Integer histogram.
    #[prost(uint64, tag = "6")]
    Int(u64),
    /// Float histogram.
    #[prost(double, tag = "7")]
    Float(f64),
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BucketSpan {
    /// Gap to the previous span.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// Buckets in it.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// Why a body could not be decoded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body says it is larger than allowed once unpacked. Nothing was allocated for it.
    #[error("body of {declared} bytes decoded is too large, allowed are {allowed}")]
    TooLarge {
        /// Length that the body declares.
        declared: u64,
        /// Bound.
        allowed: u64,
    },
    /// Not a snappy block.
    #[error("body is no snappy block: {0}")]
    Snappy(#[from] snap::Error),
    /// Ends in the middle of a field.
    #[error("body is no remote-write 1.0 message: a field is cut off or malformed")]
    Truncated,
    /// Not the message expected.
    #[error("body is no remote-write 1.0 message: {0}")]
    Protobuf(#[from] prost::DecodeError),
}

impl WriteRequest {
    /// Encodes as protobuf in a snappy block, the form that is sent and stored.
    pub fn to_snappy(&self) -> Vec<u8> {
        snap::raw::Encoder::new()
            .compress_vec(&self.encode_to_vec())
            .expect("a message in memory is far below the 4 GiB that a snappy block can hold")
    }

    /// Decodes a snappy block of at most `max_decoded` bytes; the declared length is checked before memory is taken.
    pub fn from_snappy(body: &[u8], max_decoded: u64) -> Result<Self, DecodeError> {
        Ok(Self::decode(unpack(body, max_decoded)?.as_slice())?)
    }

    /// Samples and histograms in it: what counts as one sample everywhere in the project.
    pub fn sample_count(&self) -> u64 {
        self.timeseries.iter().map(|series| (series.samples.len() + series.histograms.len()) as u64).sum()
    }
}

/// Unpacks a snappy block; the length that it declares is checked before memory is taken.
pub fn unpack(body: &[u8], max_decoded: u64) -> Result<Vec<u8>, DecodeError> {
    let declared = snap::raw::decompress_len(body)? as u64;
    if declared > max_decoded {
        return Err(DecodeError::TooLarge { declared, allowed: max_decoded });
    }
    Ok(snap::raw::Decoder::new().decompress_vec(body)?)
}

/// Bytes of memory that an unpacked message will take once decoded, found without taking them.
pub fn memory_to_decode(message: &[u8]) -> Result<u64, DecodeError> {
    super::estimate::decoded_bytes(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> WriteRequest {
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        WriteRequest {
            timeseries: vec![TimeSeries {
                labels: vec![label(NAME_LABEL, "up"), label("job", "x")],
                samples: vec![Sample { value: 1.0, timestamp: 2 }],
                histograms: vec![Histogram {
                    count: Some(HistogramCount::Int(3)),
                    reset_hint: 2,
                    positive_spans: vec![BucketSpan { offset: -1, length: 1 }],
                    positive_deltas: vec![3],
                    ..Histogram::default()
                }],
                ..TimeSeries::default()
            }],
            metadata: vec![],
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_published_schema() {
        let mut request = request();
        request.timeseries[0].histograms.clear();
        assert_eq!(
            request.encode_to_vec(),
            b"\x0a\x27\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01x\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x02"
        );
    }

    #[test]
    fn a_request_survives() {
        let request = request();
        assert_eq!(WriteRequest::from_snappy(&request.to_snappy(), 1 << 20).unwrap(), request);
        assert_eq!(request.sample_count(), 2);
    }

    #[test]
    fn the_stale_marker_keeps_its_bits() {
        let mut request = request();
        request.timeseries[0].samples[0].value = f64::from_bits(STALE_NAN_BITS);
        let read = WriteRequest::from_snappy(&request.to_snappy(), 1 << 20).unwrap();
        assert_eq!(read.timeseries[0].samples[0].value.to_bits(), STALE_NAN_BITS);
    }

    #[test]
    fn a_bomb_is_refused_by_its_declared_length() {
        // A block that claims 4 GiB − 1 in six bytes.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        let error = WriteRequest::from_snappy(&bomb, 64 << 20).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { declared: 4_294_967_295, .. }), "{error}");
    }
}
