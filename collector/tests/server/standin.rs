//! A target that keeps what it took and answers as a test wants.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use sonde_collector::http::{ListenConfig, Listener};
use sonde_collector::wire::remote_write::WriteRequest;
use tokio_util::sync::CancellationToken;

/// One sample as it arrived: the series' name, time, value.
pub type Arrived = (String, i64, f64);

/// Decides about a request by what it holds and by how many requests there were before.
pub type Rule = Box<dyn FnMut(&[Arrived], usize) -> Reply + Send>;

/// What to answer, and whether to keep the samples.
pub struct Reply {
    pub status: u16,
    pub keep: bool,
    pub retry_after: Option<&'static str>,
    pub body: &'static str,
}

impl Reply {
    pub fn taken() -> Self {
        Self { keep: true, ..Self::refused(204, "") }
    }

    pub fn refused(status: u16, body: &'static str) -> Self {
        Self { status, keep: false, retry_after: None, body }
    }
}

#[derive(Default)]
struct Inner {
    kept: Vec<Arrived>,
    requests: Vec<(Instant, HeaderMap)>,
    rule: Option<Rule>,
}

/// Stops when dropped.
#[derive(Clone)]
pub struct Standin {
    inner: Arc<Mutex<Inner>>,
    pub url: String,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

impl Standin {
    pub async fn start(rule: impl FnMut(&[Arrived], usize) -> Reply + Send + 'static) -> Self {
        Self::start_on(ListenConfig::new("127.0.0.1:0".parse().unwrap()), "http", rule).await
    }

    pub async fn start_on(
        config: ListenConfig,
        scheme: &str,
        rule: impl FnMut(&[Arrived], usize) -> Reply + Send + 'static,
    ) -> Self {
        let inner = Arc::new(Mutex::new(Inner { rule: Some(Box::new(rule)), ..Inner::default() }));
        let router = Router::new().route("/write", post(receive)).with_state(inner.clone());
        let config = ListenConfig { drain_timeout: Duration::ZERO, ..config };
        let listener = Listener::bind(config).await.unwrap();
        let url = format!("{scheme}://{}/write", listener.local_addr());
        let stop = CancellationToken::new();
        tokio::spawn(listener.serve(router, stop.clone()));
        Self { inner, url, _stop: Arc::new(stop.drop_guard()) }
    }

    pub fn set_rule(&self, rule: impl FnMut(&[Arrived], usize) -> Reply + Send + 'static) {
        self.inner.lock().unwrap().rule = Some(Box::new(rule));
    }

    pub fn kept(&self) -> Vec<Arrived> {
        self.inner.lock().unwrap().kept.clone()
    }

    pub fn requests(&self) -> Vec<(Instant, HeaderMap)> {
        self.inner.lock().unwrap().requests.clone()
    }
}

async fn receive(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes) -> Response {
    let request = WriteRequest::from_snappy(&body, 1 << 30).unwrap();
    let arrived: Vec<Arrived> = request
        .timeseries
        .iter()
        .flat_map(|series| {
            series.samples.iter().map(|s| (series.labels[0].value.clone(), s.timestamp, s.value))
        })
        .collect();
    let mut inner = inner.lock().unwrap();
    let before = inner.requests.len();
    inner.requests.push((Instant::now(), headers));
    let reply = inner.rule.as_mut().unwrap()(&arrived, before);
    if reply.keep {
        inner.kept.extend(arrived);
    }
    let mut response = (StatusCode::from_u16(reply.status).unwrap(), reply.body).into_response();
    if let Some(value) = reply.retry_after {
        response.headers_mut().insert("retry-after", value.parse().unwrap());
    }
    response
}
