//! Receiving: remote write 1.0 over HTTP, judged, and handed to the pipeline.
//!
//! Invariants:
//! * 2xx is answered only after the samples are durable.
//! * What a request may cost is bounded before memory is taken for it: bytes as sent, as they arrive; bytes as unpacked
//!   by the length that the body declares; and the bytes of all requests under way.
//! * Every refusal is counted by its reason.

mod body;
mod handler;
mod headers;
mod keys;
mod room;
mod stats;
mod validate;

pub use handler::{Ingest, IngestConfig};
pub use headers::check_headers;
pub use keys::{ApiKeys, KeysError};
pub use stats::{IngestStats, Reason};
pub use validate::{Refusal, validate};

/// Bounds of one request and of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body as sent.
    pub body_bytes: u64,
    /// Bytes of a body once unpacked.
    pub decoded_bytes: u64,
    /// Bytes of memory for all requests under way: as sent, unpacked, and decoded.
    pub in_flight_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 32 << 20, decoded_bytes: 64 << 20, in_flight_bytes: 512 << 20 }
    }
}
