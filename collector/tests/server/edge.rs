//! The HTTP edge: credentials, and what a stranger can hold open.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use sonde_collector::http::{ListenConfig, ListenError, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::{DEADLINE, client};

async fn start(change: impl FnOnce(&mut ListenConfig)) -> (String, DropGuard) {
    let mut config = ListenConfig::new("127.0.0.1:0".parse().unwrap());
    change(&mut config);
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/page", get(|| async { "page" }))
        .route("/large", get(|| async { vec![b'x'; 64 << 20] }));
    let listener = Listener::bind(config).await.unwrap();
    let address = listener.local_addr().to_string();
    let stop = CancellationToken::new();
    tokio::spawn(listener.serve(router, stop.clone()));
    (address, stop.drop_guard())
}

/// Everything that comes until the other side closes.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn credentials_are_asked_for_but_not_by_a_kubelet() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth");
    std::fs::write(&file, "bearer abc\n").unwrap();
    let (address, _stop) = start(|config| config.auth = Some(file)).await;
    let status = async |path: &str, token: &str| {
        let request = client().get(format!("http://{address}{path}"));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("/page", "").await, 401);
    assert_eq!(status("/page", "ab").await, 401);
    assert_eq!(status("/page", "abc").await, 200);
    assert_eq!(status("/healthz", "").await, 200);
}

#[tokio::test]
async fn a_head_that_does_not_come_frees_its_connection() {
    let (address, _stop) = start(|config| {
        config.max_connections = 1;
        config.header_timeout = Duration::from_millis(200);
    })
    .await;
    let mut silent = TcpStream::connect(&address).await.unwrap();
    silent.write_all(b"GET /page HT").await.unwrap();
    // The one slot is taken: this request waits for it, and gets it.
    let mut patient = TcpStream::connect(&address).await.unwrap();
    patient.write_all(b"GET /page HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut patient).await.ends_with("page"));
    assert!(!read_to_end(&mut silent).await.contains("page"));
}

#[tokio::test]
async fn who_does_not_read_the_response_gives_its_connection_back() {
    let (address, _stop) = start(|config| {
        config.max_connections = 1;
        config.response_timeout = Duration::from_millis(200);
    })
    .await;
    let mut deaf = TcpStream::connect(&address).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut patient = TcpStream::connect(&address).await.unwrap();
    patient.write_all(b"GET /page HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut patient).await.ends_with("page"));
}

#[tokio::test]
async fn a_large_response_that_is_read_in_time_is_whole() {
    let (address, _stop) = start(|_| {}).await;
    let response = client().get(format!("http://{address}/large")).send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap().len(), 64 << 20);
}

#[tokio::test]
async fn a_stop_ends_idle_connections() {
    let (address, stop) = start(|_| {}).await;
    let mut idle = TcpStream::connect(&address).await.unwrap();
    idle.write_all(b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    drop(stop);
    assert!(read_to_end(&mut idle).await.ends_with("page"));
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let mut config = ListenConfig::new("127.0.0.1:0".parse().unwrap());
    config.auth = Some("/nonexistent/auth".into());
    let error = Listener::bind(config).await.err().unwrap();
    assert!(error.to_string().starts_with("cannot use credentials /nonexistent/auth: "), "{error}");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Listener::bind(ListenConfig::new(taken.local_addr().unwrap())).await.err().unwrap();
    assert!(matches!(error, ListenError::Bind { .. }), "{error}");
}
