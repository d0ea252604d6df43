//! Entry points for fuzzers: every decoder of foreign bytes. None may panic, whatever it is given.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use prost::Message;

use crate::log::format::{RecordHeader, SegmentHeader, is_intact};
use crate::wire::remote_write::{TimeSeries, WriteRequest, memory_to_decode};

/// Bound given to the decoder; small, so that a fuzzer stays fast.
const MAX_DECODED: u64 = 1 << 20;

/// A body as a stranger sends it. What is decoded must survive being encoded again.
pub fn fuzz_remote_write(body: &[u8]) {
    if let Ok(mut request) = WriteRequest::from_snappy(body, MAX_DECODED) {
        crate::ingest::validate(&mut request);
        let again =
            WriteRequest::from_snappy(&request.to_snappy(), u64::MAX).expect("own encoding is decoded");
        assert_eq!(again.encode_to_vec(), request.encode_to_vec());
    }
}

/// A message without its compression, which mutations of bytes rarely survive. What ingest would decode, since its
/// memory could be estimated, takes no more than that.
pub fn fuzz_protobuf(message: &[u8]) {
    let Ok(estimated) = memory_to_decode(message) else { return };
    if let Ok(request) = WriteRequest::decode(message) {
        let taken = request.timeseries.capacity() * size_of::<TimeSeries>();
        // Even the shortest list has room for four.
        let allowed = estimated + 4 * size_of::<TimeSeries>() as u64;
        assert!(taken as u64 <= allowed, "estimated {estimated}, taken {taken}");
        fuzz_remote_write(&request.to_snappy());
    }
}

/// A segment as a broken disk may return it.
pub fn fuzz_segment(bytes: &[u8]) {
    let _ = SegmentHeader::decode(bytes);
    let _ = RecordHeader::decode(bytes);
    let _ = is_intact(bytes, 0);
    let _ = SegmentHeader::from_file_name(&String::from_utf8_lossy(bytes));
}

/// Headers of a request: one `name: value` per line.
pub fn fuzz_headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    let _ = crate::ingest::check_headers(&headers);
    let _ = crate::ingest::ApiKeys::anonymous().project(&headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_does_no_harm() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut inputs = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            for target in [fuzz_remote_write, fuzz_protobuf, fuzz_segment, fuzz_headers] {
                target(&input);
            }
            inputs += 1;
        }
        assert!(inputs >= 8, "{inputs} inputs");
    }
}
