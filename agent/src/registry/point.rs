//! A sample as single numbers: what the text formats write as lines, and what remote write sends as series.

use super::Value;
use crate::model::Histogram;

/// One number of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// What follows the metric's name: `_bucket`, `_sum`, `_count`, or nothing.
    pub suffix: &'static str,
    /// Upper bound of a bucket, for the label `le`.
    pub le: Option<f64>,
    /// The number.
    pub value: f64,
}

impl Value {
    /// The numbers of the sample: one of a counter or gauge, several of a histogram, its buckets first.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        let (number, histogram) = match self {
            Self::Number(number) => (Some(Point { suffix: "", le: None, value: *number }), None),
            Self::Histogram(histogram) => (None, Some(histogram.points())),
        };
        number.into_iter().chain(histogram.into_iter().flatten())
    }
}

impl Histogram {
    fn points(&self) -> impl Iterator<Item = Point> {
        let bucket = |(bound, count)| Point { suffix: "_bucket", le: Some(bound), value: count as f64 };
        let count = self.count();
        let rest = [
            bucket((f64::INFINITY, count)),
            Point { suffix: "_sum", le: None, value: self.sum() },
            Point { suffix: "_count", le: None, value: count as f64 },
        ];
        self.cumulative().map(bucket).chain(rest)
    }
}

/// Writes a number as the text formats do.
pub(super) fn put_number(out: &mut Vec<u8>, number: f64) {
    // All integers below are exact in a float, and shorter and quicker to print as what they are.
    const EXACT: f64 = (1_i64 << 53) as f64;
    if number.abs() < EXACT && number.fract() == 0.0 {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else {
        put_float(out, number);
    }
}

/// Writes a number with a decimal point or an exponent, always: bounds are label values, and `1` and `1.0` would be
/// two of them.
pub(super) fn put_float(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(float_text(number, &mut ryu::Buffer::new()).as_bytes());
}

/// The text of a bound, the same in every format and in what is pushed.
pub fn float_text(number: f64, buffer: &mut ryu::Buffer) -> &str {
    if number.is_finite() {
        buffer.format_finite(number)
    } else if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}
