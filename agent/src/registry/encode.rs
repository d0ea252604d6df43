//! A snapshot as `GET /metrics` answers with it, made piece by piece.
//!
//! An [`Exposition`] is pulled for the next piece only when the one before it was taken, so a scrape of any size
//! holds one piece in memory, a slow reader costs nothing, and nothing is allocated per series.

mod negotiate;
mod protobuf;
mod text;

use std::sync::Arc;

pub use negotiate::{Compression, Format};

use super::{Family, Labels, Sample, Snapshot};
use protobuf::Protobuf;
use text::Text;

/// What the formats do, each in its way.
trait Encoder {
    /// What comes before a family's samples.
    fn begin(&mut self, out: &mut Vec<u8>, common: &Labels, family: &Family);
    /// One sample; a histogram is one sample too.
    fn sample(&mut self, out: &mut Vec<u8>, common: &Labels, family: &Family, sample: &Sample);
    /// What comes after everything.
    fn end(&mut self, out: &mut Vec<u8>);
}

/// A snapshot on its way out.
#[derive(Debug)]
pub struct Exposition {
    snapshot: Arc<Snapshot>,
    encoder: AnyEncoder,
    next: Position,
}

#[derive(Debug)]
enum AnyEncoder {
    Text(Text),
    Protobuf(Protobuf),
}

/// What is written next.
#[derive(Clone, Copy, Debug)]
enum Position {
    Begin { family: usize },
    Sample { family: usize, sample: usize },
    End,
    Done,
}

impl Exposition {
    /// Starts at the beginning.
    pub fn new(snapshot: Arc<Snapshot>, format: Format) -> Self {
        let encoder = match format {
            Format::Text => AnyEncoder::Text(Text::classic(&snapshot)),
            Format::OpenMetrics => AnyEncoder::Text(Text::open_metrics(&snapshot)),
            Format::Protobuf => AnyEncoder::Protobuf(Protobuf),
        };
        Self { snapshot, encoder, next: Position::Begin { family: 0 } }
    }

    /// Appends to `out` until it holds `limit` bytes or a little more. Returns whether something is left.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        match &mut self.encoder {
            AnyEncoder::Text(text) => self.next = fill(text, &self.snapshot, self.next, out, limit),
            AnyEncoder::Protobuf(protobuf) => {
                self.next = fill(protobuf, &self.snapshot, self.next, out, limit)
            }
        }
        !matches!(self.next, Position::Done)
    }
}

fn fill<E: Encoder>(
    encoder: &mut E,
    snapshot: &Snapshot,
    mut next: Position,
    out: &mut Vec<u8>,
    limit: usize,
) -> Position {
    while out.len() < limit {
        next = match next {
            Position::Begin { family } => match snapshot.families.get(family) {
                Some(of) => {
                    encoder.begin(out, snapshot.labels_of(of.metric), of);
                    Position::Sample { family, sample: 0 }
                }
                None => Position::End,
            },
            Position::Sample { family, sample } => match snapshot.families[family].samples.get(sample) {
                Some(one) => {
                    let of = &snapshot.families[family];
                    encoder.sample(out, snapshot.labels_of(of.metric), of, one);
                    Position::Sample { family, sample: sample + 1 }
                }
                None => Position::Begin { family: family + 1 },
            },
            Position::End => {
                encoder.end(out);
                Position::Done
            }
            Position::Done => break,
        };
    }
    next
}
