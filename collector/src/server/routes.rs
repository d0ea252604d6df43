//! `/metrics`, `/healthz`, `/readyz`, `/status`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::ingest::Ingest;
use crate::pipeline::Pipeline;
use crate::telemetry;

struct Parts {
    ingest: Arc<Ingest>,
    pipeline: Arc<Pipeline>,
}

/// The endpoints that tell about the collector itself.
pub(super) fn router(ingest: Arc<Ingest>, pipeline: Arc<Pipeline>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/healthz", get(|| async { "ok\n" }))
        // Once it listens the log is open: nothing else is needed to take samples.
        .route("/readyz", get(|| async { "ready\n" }))
        .with_state(Arc::new(Parts { ingest, pipeline }))
}

async fn metrics(State(parts): State<Arc<Parts>>) -> Response {
    let text = telemetry::exposition(parts.ingest.stats(), &parts.pipeline.stats());
    ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], text).into_response()
}

async fn status(State(parts): State<Arc<Parts>>) -> Response {
    let (requests, bytes, samples) = parts.ingest.stats().totals();
    let pipeline = parts.pipeline.stats();
    axum::Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ingest": {
            "requests": requests,
            "bytes": bytes,
            "samples": samples,
            "refused_requests": parts.ingest.stats().refused_requests_by_reason(),
            "refused_samples": parts.ingest.stats().refused_samples_by_reason(),
        },
        "log": pipeline.log,
        "targets": pipeline.targets,
    }))
    .into_response()
}
