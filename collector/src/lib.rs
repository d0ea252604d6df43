//! Receiving, durable buffering and forwarding of metrics, as a library.
//!
//! The agent embeds it for its push path; the `sonde-collector` binary (feature `server`) is the same code as a server.
//!
//! | module | holds |
//! |---|---|
//! | [`units`] | sizes and durations as people write them |
//! | [`config`] | what both programs' configurations share; all problems reported together |
//! | [`wire`] | the only types that are serialized for others |
//! | [`http`] | the shared HTTP edge: TLS, credentials, bounded connections, graceful end |
//! | [`log`] | the durable log: segments, writer, consumers with cursors |
//! | [`forward`] | one task per target: batches, order, retry rules |
//! | `ingest` | (`server`) remote write over HTTP, judged |
//! | `telemetry` | (`server`) own metrics and status |
//! | `server` | (`server`) the program: configuration, wiring, life cycle |
//! | [`signals`] | how both programs are told to end |
//! | [`pipeline`] | log and forwarders put together: the one door for a sample |
#![forbid(unsafe_code)]

mod blocking;
pub mod config;
pub mod forward;
#[cfg(feature = "server")]
pub mod fuzz;
pub mod http;
#[cfg(feature = "server")]
pub mod ingest;
pub mod log;
pub mod pipeline;
#[cfg(feature = "server")]
pub mod server;
pub mod signals;
#[cfg(feature = "server")]
pub mod telemetry;
pub mod units;
pub mod wire;

pub use pipeline::{AppendError, OpenError, Pipeline, PipelineConfig, PipelineStats};
