//! Forwarding: one task per target reads the log from its cursor and posts what it finds, in order.
//!
//! Invariants:
//! * One request is under way per target, so the order per series is the order of the log; the pieces of a request that was
//!   refused go by time.
//! * The cursor moves only past samples that were delivered, or refused one by one, counted and logged.
//! * Memory does not depend on the backlog: one batch of records is held, see [`BATCH_BYTES`] and [`BATCH_SAMPLES`].
//! * What an answer says in words is never acted upon; it only chooses under which reason a refused sample is counted.

mod backoff;
mod batch;
mod client;
mod credentials;
mod forwarder;
mod limiter;
mod split;
mod stats;
mod verdict;

pub use client::{Client, ClientError, client_tls};
pub use forwarder::Forwarder;
pub use stats::{SharedStats, TargetStats};
pub use verdict::Verdict;

/// Bytes of records, as stored, that are read at once.
const BATCH_BYTES: u64 = 4 << 20;
/// Samples after which no further record is read; also the most that one request holds.
const BATCH_SAMPLES: u64 = 10_000;
