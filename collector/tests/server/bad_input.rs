//! Whatever a stranger sends gives one answer and one counted refusal, and the rest goes on.

use prost::Message;
use sonde_collector::wire::remote_write::{Label, WriteRequest};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, request, series, until};
use crate::standin::{Reply, Standin};

/// What it is, body, headers, status, counted reason.
type Case<'a> = (&'a str, Vec<u8>, &'a [(&'a str, &'a str)], u16, &'a str);

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

async fn refusals(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("refused_requests_total{{reason=\"{reason}\"}}")).await.unwrap()
}

#[tokio::test]
async fn every_bad_request_is_refused_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let good = request(vec![series("s", 1, 1.0)]).to_snappy();
    let protobuf2 = ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
    let cases: [Case<'_>; 9] = [
        (
            "a bomb by its declared length",
            vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0],
            &[],
            413,
            "too_large_decoded",
        ),
        ("a bomb that unpacks", snappy(&vec![0; 65 << 20]), &[], 413, "too_large_decoded"),
        ("a bomb of empty series", snappy(&[0x0a, 0].repeat(8 << 20)), &[], 413, "too_large_decoded"),
        ("a huge body", vec![0; (32 << 20) + 1], &[], 413, "too_large"),
        ("no snappy", b"\x05hello hello hello".to_vec(), &[], 400, "snappy"),
        ("no protobuf", snappy(b"\xff\xff\xff\xff"), &[], 400, "protobuf"),
        ("remote write 2.0", good.clone(), &[protobuf2], 415, "unsupported"),
        ("another encoding", good.clone(), &[("content-encoding", "gzip")], 415, "unsupported"),
        ("another type", good.clone(), &[("content-type", "application/json")], 415, "unsupported"),
    ];
    for (what, body, headers, status, reason) in cases {
        let before = refusals(&server, reason).await;
        let (answered, message) = server.post(body, headers).await.unwrap();
        assert_eq!(answered, status, "{what}: {message}");
        assert_eq!(refusals(&server, reason).await, before + 1.0, "{what}");
    }
    assert_eq!(server.metric("received_requests_total").await, Some(0.0));
    assert_eq!(server.post(good, &[]).await.unwrap().0, 204);
    assert_eq!(server.metric("received_samples_total").await, Some(1.0));
}

#[tokio::test]
async fn who_declares_much_and_sends_nothing_takes_no_room_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
        let head = "POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-length: 33554432\r\n\
            content-encoding: snappy\r\ncontent-type: application/x-protobuf\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // Said when the body is waited for.
        let mut answer = [0; 21];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue");
        idle.push(stream);
    }
    let large = (0..20_000).map(|i| series(&format!("series{i}"), i, i as f64)).collect();
    assert_eq!(server.write(&request(large)).await.unwrap(), 204);
    assert_eq!(refusals(&server, "overloaded").await, 0.0);
}

#[tokio::test]
async fn the_valid_part_of_a_request_is_stored_and_forwarded() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, _| Reply::taken()).await;
    let server = Server::start(dir.path(), &["--remote-write", &standin.url]);
    let mut unsorted = series("bad", 1, 1.0);
    unsorted.labels.push(Label { name: "A".into(), value: "x".into() });
    let mixed = request(vec![series("one", 1, 1.0), unsorted, series("two", 2, 2.0)]);
    let (status, message) = server.post(mixed.to_snappy(), &[]).await.unwrap();
    assert_eq!(status, 400);
    assert_eq!(
        message,
        "1 series refused, the rest of the request was stored; first: series {__name__=\"bad\",A=\"x\"}: label `A` is not sorted by name\n"
    );
    until("delivery", async || standin.kept().len() == 2).await;
    assert_eq!(standin.kept(), [("one".into(), 1, 1.0), ("two".into(), 2, 2.0)]);
    assert_eq!(server.metric("refused_samples_total{reason=\"labels\"}").await, Some(1.0));
}

#[tokio::test]
async fn a_key_is_needed_and_tells_the_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    std::fs::write(&keys, "blue secret-blue\n").unwrap();
    let standin = Standin::start(|_, _| Reply::taken()).await;
    let keys = keys.to_str().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(
        &data,
        &["--api-keys", keys, "--tenant-label", "Tenant", "--remote-write", &standin.url],
    );
    let body = request(vec![series("s", 1, 1.0)]).to_snappy();
    assert_eq!(server.post(body.clone(), &[]).await.unwrap().0, 401);
    assert_eq!(server.post(body.clone(), &[("x-api-key", "secret")]).await.unwrap().0, 401);
    assert_eq!(server.post(body, &[("authorization", "Bearer secret-blue")]).await.unwrap().0, 204);
    // The label sorts before `__name__`, so it is the one that the stand-in takes for the name.
    until("delivery", async || !standin.kept().is_empty()).await;
    assert_eq!(standin.kept()[0].0, "blue");
    assert_eq!(refusals(&server, "unauthorized").await, 2.0);
    for page in ["/status", "/metrics"] {
        assert!(!server.get(page).await.contains("secret-blue"));
    }
}

#[tokio::test]
async fn an_empty_request_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.post(snappy(&WriteRequest::default().encode_to_vec()), &[]).await.unwrap().0, 204);
    assert_eq!(server.get("/healthz").await, "ok\n");
    assert_eq!(server.get("/readyz").await, "ready\n");
}
