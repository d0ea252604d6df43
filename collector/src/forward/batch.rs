//! From records of the log to requests of a bounded size.

use bytes::Bytes;
use prost::Message;

use super::BATCH_SAMPLES;
use crate::log::{Kind, Position, Record};
use crate::wire::remote_write::{DecodeError, WriteRequest};

/// Decoded size above which a record of the log is taken for damaged; ingest lets nothing larger in.
const MAX_DECODED: u64 = 128 << 20;

/// Records that are sent together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub records: Vec<Record>,
    /// Whether they may have been sent in an earlier life.
    pub resent: bool,
}

/// What is posted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// A record as it stands in the log.
    Stored { payload: Bytes, samples: u64 },
    /// Decoded, because it was put together or cut.
    Decoded(WriteRequest),
}

/// Records that cannot be decoded, if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Undecodable {
    /// Samples in them.
    pub samples: u64,
    /// What is wrong with the first of them; empty when there is none.
    pub first_error: String,
}

/// Puts consecutive records together while they stay within [`BATCH_SAMPLES`] and on one side of `resent_until`.
pub(super) fn group(records: Vec<Record>, resent_until: Position) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut samples = 0;
    for record in records {
        let resent = record.position.seq < resent_until.seq;
        let count = u64::from(record.samples);
        match groups.last_mut() {
            Some(group) if group.resent == resent && samples + count <= BATCH_SAMPLES => {
                samples += count;
                group.records.push(record);
            }
            _ => {
                samples = count;
                groups.push(Group { records: vec![record], resent });
            }
        }
    }
    groups
}

impl Group {
    /// Place after its last record.
    pub fn end(&self) -> Option<Position> {
        self.records.last().map(|record| record.end)
    }

    /// Bytes to decode.
    pub fn unpacked_bytes(&self) -> u64 {
        let unpacked = |record: &Record| snap::raw::decompress_len(&record.payload).unwrap_or(0) as u64;
        self.records.iter().map(unpacked).sum()
    }

    /// The bodies to post in order, and what of the records cannot be decoded.
    pub fn bodies(self) -> (Vec<Body>, Undecodable) {
        if let [record] = self.records.as_slice()
            && record.kind == Some(Kind::RemoteWrite1)
            && u64::from(record.samples) <= BATCH_SAMPLES
        {
            let body = Body::Stored { payload: record.payload.clone(), samples: record.samples.into() };
            return (vec![body], Undecodable::default());
        }
        let mut undecodable = Undecodable::default();
        let mut whole = WriteRequest::default();
        for record in self.records {
            match decode(record.kind, &record.payload) {
                Ok(request) => {
                    whole.timeseries.extend(request.timeseries);
                    whole.metadata.extend(request.metadata);
                }
                Err(error) => {
                    if undecodable.first_error.is_empty() {
                        undecodable.first_error = format!("record {}: {error}", record.position.seq);
                    }
                    undecodable.samples += u64::from(record.samples);
                }
            }
        }
        (cut(whole), undecodable)
    }
}

impl Body {
    /// The bytes to post.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Stored { payload, .. } => payload.clone(),
            Self::Decoded(request) => request.to_snappy().into(),
        }
    }

    /// Bytes of the request once decoded, if it has to be encoded or decoded at all.
    pub fn unpacked_bytes(&self) -> u64 {
        match self {
            Self::Stored { payload, .. } => snap::raw::decompress_len(payload).unwrap_or(0) as u64,
            Self::Decoded(request) => request.encoded_len() as u64,
        }
    }

    /// The samples in it.
    pub fn sample_count(&self) -> u64 {
        match self {
            Self::Stored { samples, .. } => *samples,
            Self::Decoded(request) => request.sample_count(),
        }
    }

    /// The request, to be split.
    pub fn decode(self) -> Result<WriteRequest, DecodeError> {
        match self {
            Self::Stored { payload, .. } => WriteRequest::from_snappy(&payload, MAX_DECODED),
            Self::Decoded(request) => Ok(request),
        }
    }
}

fn decode(kind: Option<Kind>, payload: &[u8]) -> Result<WriteRequest, String> {
    match kind {
        Some(Kind::RemoteWrite1) => {
            WriteRequest::from_snappy(payload, MAX_DECODED).map_err(|error| error.to_string())
        }
        None => Err("written by a newer version".into()),
    }
}

/// Cuts a request into pieces of at most about [`BATCH_SAMPLES`], between series. A single series stays whole.
fn cut(request: WriteRequest) -> Vec<Body> {
    let mut bodies = Vec::new();
    let mut piece = WriteRequest { metadata: request.metadata, timeseries: Vec::new() };
    let mut samples = 0;
    for series in request.timeseries {
        let count = (series.samples.len() + series.histograms.len()) as u64;
        if samples + count > BATCH_SAMPLES && !piece.timeseries.is_empty() {
            bodies.push(Body::Decoded(std::mem::take(&mut piece)));
            samples = 0;
        }
        samples += count;
        piece.timeseries.push(series);
    }
    if !piece.timeseries.is_empty() || !piece.metadata.is_empty() {
        bodies.push(Body::Decoded(piece));
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::remote_write::{Sample, TimeSeries};

    fn record(seq: u64, samples: u32) -> Record {
        let series = TimeSeries { samples: vec![Sample::default()], ..TimeSeries::default() };
        let request = WriteRequest { timeseries: vec![series; samples as usize], metadata: vec![] };
        Record {
            position: Position { seq, sample: 0 },
            end: Position { seq: seq + 1, sample: 0 },
            timestamp_ms: 0,
            samples,
            kind: Some(Kind::RemoteWrite1),
            payload: request.to_snappy().into(),
        }
    }

    fn shape(records: Vec<Record>, resent_until: u64) -> Vec<(usize, bool)> {
        let groups = group(records, Position { seq: resent_until, sample: 0 });
        groups.iter().map(|group| (group.records.len(), group.resent)).collect()
    }

    #[test]
    fn groups_keep_the_bound_and_part_what_may_have_been_sent() {
        let records = || (0..5).map(|seq| record(seq, 4_000)).collect::<Vec<_>>();
        assert_eq!(shape(records(), 0), [(2, false), (2, false), (1, false)]);
        assert_eq!(shape(records(), 1), [(1, true), (2, false), (2, false)]);
        assert_eq!(shape(vec![], 0), []);
    }

    #[test]
    fn one_record_is_sent_as_it_stands() {
        let one = record(0, 3);
        let (bodies, undecodable) = Group { records: vec![one.clone()], resent: false }.bodies();
        let stored = Body::Stored { payload: one.payload, samples: 3 };
        assert_eq!((bodies, undecodable), (vec![stored], Undecodable::default()));
    }

    #[test]
    fn a_large_record_is_cut() {
        let (bodies, _) = Group { records: vec![record(0, 25_000)], resent: false }.bodies();
        let counts: Vec<u64> = bodies.iter().map(Body::sample_count).collect();
        assert_eq!(counts, [10_000, 10_000, 5_000]);
    }

    #[test]
    fn a_record_that_cannot_be_decoded_does_not_take_others_along() {
        let foreign = |seq, samples| Record { kind: None, ..record(seq, samples) };
        let records = vec![record(0, 1), foreign(1, 7), record(2, 2), foreign(3, 8)];
        let (bodies, undecodable) = Group { records, resent: false }.bodies();
        let first_error = "record 1: written by a newer version".to_owned();
        assert_eq!(undecodable, Undecodable { samples: 15, first_error });
        assert_eq!(bodies.iter().map(Body::sample_count).sum::<u64>(), 3);
    }
}
