use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures_util::StreamExt;
use tower::ServiceExt;

use super::*;
use crate::model::UnixMillis;
use crate::registry::{Labels, Snapshot, SnapshotBuilder, SourceGone, catalog};

/// A source with one snapshot of so many series, or none any more.
struct Fake {
    snapshot: Option<Arc<Snapshot>>,
    asked: AtomicUsize,
}

impl Fake {
    fn new(series: usize) -> Self {
        let mut builder = SnapshotBuilder::default();
        for n in 0..series {
            let own = Labels::new([("destination", format!("10.0.0.1:{n}"))]);
            builder.number(&catalog::tcp::FAILED_CONNECTS_TOTAL, &Labels::empty(), &own, n as f64);
        }
        let snapshot = builder.build(UnixMillis(0), Labels::new([("machine_id", "m")]));
        Self { snapshot: Some(Arc::new(snapshot)), asked: AtomicUsize::new(0) }
    }
}

impl Source for Arc<Fake> {
    async fn snapshot(&self, max_age: Duration) -> Result<Arc<Snapshot>, SourceGone> {
        assert_eq!(max_age, MAX_AGE);
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.snapshot.clone().ok_or(SourceGone)
    }
}

struct Ready(Result<(), String>);

impl Health for Ready {
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        self.0.clone()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::json!({ "probes": { "tcp": "ok" } })
    }
}

fn surface(fake: Fake) -> (Router, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    (router(Arc::new(fake), Arc::new(Ready(Err("no snapshot yet".into()))), stats.clone()), stats)
}

async fn get_with(router: &Router, path: &str, headers: &[(HeaderName, &str)]) -> Response {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

fn failed(stats: &Stats) -> Vec<(&'static str, u64)> {
    stats.lock().failed.iter().map(|(reason, count)| (*reason, *count)).collect()
}

#[tokio::test]
async fn pages_answer() {
    let (router, _) = surface(Fake::new(0));
    let text = async |path| {
        let response = get_with(&router, path, &[]).await;
        (response.status().as_u16(), String::from_utf8(body(response).await).unwrap())
    };
    assert_eq!(text("/healthz").await, (200, "ok\n".into()));
    assert_eq!(text("/readyz").await, (503, "no snapshot yet\n".into()));
    let (code, status) = text("/status").await;
    assert_eq!(code, 200);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&status).unwrap()["probes"]["tcp"], "ok");
    assert!(text("/").await.1.contains("href=\"/metrics\""));
    assert_eq!(text("/nonsense").await.0, 404);
}

#[tokio::test]
async fn format_and_compression_are_what_was_asked_for() {
    let (router, stats) = surface(Fake::new(5000));
    let plain = body(get_with(&router, "/metrics", &[]).await).await;
    assert!(plain.len() > 2 * 65_536, "the answer must have several pieces");
    let lines =
        plain.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"container_net_tcp_failed"));
    assert_eq!(lines.count(), 5000);

    for (encoding, expected) in [("gzip", "gzip"), ("gzip, zstd", "zstd")] {
        let response = get_with(&router, "/metrics", &[(header::ACCEPT_ENCODING, encoding)]).await;
        assert_eq!(response.headers()[header::CONTENT_ENCODING], expected);
        assert_eq!(response.headers()[header::CONTENT_TYPE], Format::Text.content_type());
        let compressed = body(response).await;
        let mut read = Vec::new();
        match expected {
            "gzip" => drop(flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut read).unwrap()),
            _ => read = zstd::stream::decode_all(&compressed[..]).unwrap(),
        }
        assert!(read == plain, "{expected}");
    }

    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let response = get_with(&router, "/metrics", &[(header::ACCEPT, accept)]).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], Format::OpenMetrics.content_type());
    assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
    assert!(body(response).await.ends_with(b"# EOF\n"));
    let counts = stats.lock();
    assert_eq!((counts.answered, counts.durations.count()), ([3, 1, 0], 4));
    drop(counts);
    assert!(failed(&stats).is_empty());
}

#[tokio::test]
async fn a_source_that_ended_is_said_so() {
    let (router, stats) = surface(Fake { snapshot: None, asked: AtomicUsize::new(0) });
    let response = get_with(&router, "/metrics", &[]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body(response).await, b"the observer has ended\n");
    assert_eq!(failed(&stats), [("stopping", 1)]);
}

#[tokio::test(start_paused = true)]
async fn clients_that_do_not_read_cost_four_slots_for_the_timeout() {
    let (router, stats) = surface(Fake::new(5000));
    let mut stalled = Vec::new();
    for _ in 0..MAX_SCRAPES {
        stalled.push(get_with(&router, "/metrics", &[]).await);
    }
    let before = Instant::now();
    assert_eq!(get_with(&router, "/metrics", &[]).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((before.elapsed().as_secs(), failed(&stats)), (PATIENCE.as_secs(), vec![("busy", 1)]));

    tokio::time::sleep(SCRAPE_TIMEOUT + Duration::from_secs(1)).await;
    assert_eq!(failed(&stats), [("busy", 1), ("client_slow", MAX_SCRAPES as u64)]);
    // What a stalled client reads now ends with an error: it must not take a part for the whole.
    let pieces: Vec<_> = stalled.remove(0).into_body().into_data_stream().collect().await;
    assert!(pieces.first().unwrap().is_ok() && pieces.last().unwrap().is_err(), "{} pieces", pieces.len());
    assert_eq!(get_with(&router, "/metrics", &[]).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn more_scrapes_than_slots_all_get_their_turn() {
    let (router, stats) = surface(Fake::new(5000));
    let scrapes =
        (0..5 * MAX_SCRAPES).map(|_| async { body(get_with(&router, "/metrics", &[]).await).await.len() });
    let lengths = futures_util::future::join_all(scrapes).await;
    assert!(lengths.iter().all(|length| *length == lengths[0] && *length > 100_000), "{lengths:?}");
    assert!(failed(&stats).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_frees_its_slot() {
    let (router, stats) = surface(Fake::new(5000));
    for _ in 0..2 * MAX_SCRAPES {
        let response = get_with(&router, "/metrics", &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        drop(response);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(failed(&stats), [("client_gone", 2 * MAX_SCRAPES as u64)]);
}
