//! What the agent answers over HTTP: `/metrics`, `/healthz`, `/readyz`, `/status`, and an index at `/`.
//!
//! The edge itself (TLS, credentials, connections) is `sonde_collector::http`. Here the bound is on scrapes: only
//! [`MAX_SCRAPES`] are answered at a time, each within [`SCRAPE_TIMEOUT`], because each may hold a snapshot of its
//! own. Others wait, though not for long.

mod compress;
mod scrape;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::registry::{Compression, Format, Source};
use scrape::Scrape;
pub use stats::Stats;

/// Scrapes answered at a time.
pub const MAX_SCRAPES: usize = 4;
/// How long a scrape waits for its turn before it is refused and counted: half of the shortest usual timeout.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time for one scrape, from the request to the last byte taken by the client.
pub const SCRAPE_TIMEOUT: Duration = Duration::from_secs(30);
/// Scrapes that come within this time of each other show the same snapshot.
const MAX_AGE: Duration = Duration::from_secs(1);

const INDEX: &str = "<!doctype html><title>sonde-agent</title><h1>sonde-agent</h1><ul>\
    <li><a href=\"/metrics\">/metrics</a>: all series\
    <li><a href=\"/status\">/status</a>: probes, queues, targets\
    <li><a href=\"/healthz\">/healthz</a>: alive\
    <li><a href=\"/readyz\">/readyz</a>: observing</ul>\n";

/// How the agent is, for those who ask about that rather than for series.
pub trait Health: Send + Sync + 'static {
    /// Whether the process should go on; if not, why.
    fn alive(&self) -> Result<(), String>;
    /// Whether series can be asked for; if not, why.
    fn ready(&self) -> Result<(), String>;
    /// Everything known, for people. Must not hold a secret.
    fn status(&self) -> serde_json::Value;
}

/// What the pages show.
struct Surface<S> {
    source: S,
    health: Arc<dyn Health>,
    stats: Arc<Stats>,
    scrapes: Arc<Semaphore>,
}

/// The pages over a source of snapshots.
pub fn router<S: Source>(source: S, health: Arc<dyn Health>, stats: Arc<Stats>) -> Router {
    let scrapes = Arc::new(Semaphore::new(MAX_SCRAPES));
    Router::new()
        .route("/", get(async || Html(INDEX)))
        .route("/metrics", get(metrics::<S>))
        .route("/healthz", get(healthz::<S>))
        .route("/readyz", get(readyz::<S>))
        .route("/status", get(status::<S>))
        .with_state(Arc::new(Surface { source, health, stats, scrapes }))
}

async fn healthz<S: Source>(State(surface): State<Arc<Surface<S>>>) -> Response {
    verdict(surface.health.alive())
}

async fn readyz<S: Source>(State(surface): State<Arc<Surface<S>>>) -> Response {
    verdict(surface.health.ready())
}

fn verdict(verdict: Result<(), String>) -> Response {
    match verdict {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn status<S: Source>(State(surface): State<Arc<Surface<S>>>) -> Response {
    let status = format!("{:#}\n", surface.health.status());
    ([(header::CONTENT_TYPE, "application/json")], status).into_response()
}

async fn metrics<S: Source>(State(surface): State<Arc<Surface<S>>>, headers: HeaderMap) -> Response {
    let deadline = Instant::now() + SCRAPE_TIMEOUT;
    let turn = tokio::time::timeout(PATIENCE, surface.scrapes.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = turn else {
        return refuse(&surface.stats, "busy", "too many scrapes at a time");
    };
    let format = Format::negotiate(&joined(&headers, header::ACCEPT));
    let compression = Compression::negotiate(&joined(&headers, header::ACCEPT_ENCODING));
    let timer = surface.stats.timer(format);
    let snapshot = match tokio::time::timeout_at(deadline, surface.source.snapshot(MAX_AGE)).await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(gone)) => return refuse(&surface.stats, "stopping", &gone.to_string()),
        Err(_) => return refuse(&surface.stats, "timeout", "the snapshot took too long"),
    };
    Scrape { snapshot, format, compression, permit, timer, deadline }.respond()
}

fn refuse(stats: &Stats, reason: &'static str, message: &str) -> Response {
    stats.count_failed(reason);
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], format!("{message}\n")).into_response()
}

/// All lines of a header as one list.
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

#[cfg(test)]
mod tests;
