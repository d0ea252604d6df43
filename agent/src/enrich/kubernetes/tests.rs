use std::path::Path;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const LIST: &str = r#"{"kind":"PodList","items":[{"metadata":{"name":"web-0","namespace":"ns","labels":{"team":"shop"},
"ownerReferences":[{"kind":"StatefulSet","name":"web","controller":true}]},"spec":{"nodeName":"node-1"}}]}"#;
const TOKEN: &str = "s3cret-token";

/// Answers one request; whoever has not the token is refused.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        _ if !request.contains(&format!("authorization: bearer {TOKEN}\r\n")) => ("401 Unauthorized", "who?"),
        "/pods" | "/api/v1/pods?fieldselector=spec.nodename%3dnode-1&resourceversion=0" => ("200 OK", LIST),
        "/html/pods" => ("200 OK", "<html>"),
        _ => ("404 Not Found", "nothing here"),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A server over plain HTTP, or over TLS with a certificate of its own in `directory`/ca.pem. Returns its address.
async fn server(tls: Option<&Path>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.map(|directory| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(directory.join("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    });
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => answer(stream).await,
                    // Whoever does not trust the certificate hangs up.
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer(stream).await;
                        }
                    }
                }
            });
        }
    });
    format!("{scheme}://localhost:{port}")
}

fn settings(directory: &Path, endpoint: Endpoint) -> Settings {
    let token = directory.join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    Settings {
        endpoint,
        token: Some(token),
        ca: None,
        skip_verify: false,
        labels: vec![PodLabel::new("team")],
    }
}

/// The first state that is not waiting, and the list, if there is one.
async fn outcome(settings: Settings) -> (Status, Option<Arc<Pods>>) {
    let mut watcher =
        Watcher::spawn_every(settings, Duration::from_millis(50), CancellationToken::new()).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while watcher.status() == Status::Waiting {
        assert!(tokio::time::Instant::now() < deadline, "nothing happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pods = watcher.changed();
    (watcher.status(), pods)
}

#[track_caller]
fn assert_listed((status, pods): (Status, Option<Arc<Pods>>)) {
    assert_eq!(status, Status::Connected(1));
    let pods = pods.expect("a list");
    let pod = &pods[&("ns".to_owned(), "web-0".to_owned())];
    assert_eq!((&*pod.owner_kind, &*pod.owner_name, &*pod.node), ("StatefulSet", "web", "node-1"));
    assert_eq!(pod.labels["label_team"], "shop");
}

#[tokio::test]
async fn a_kubelet_and_an_api_server_list_the_pods_of_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let url = server(None).await;
    assert_listed(outcome(settings(directory.path(), Endpoint::Kubelet(format!("{url}/")))).await);
    let api = Endpoint::Api { url, node: "node-1".into() };
    assert_listed(outcome(settings(directory.path(), api)).await);
}

#[tokio::test]
async fn over_tls_the_authority_decides() {
    let directory = tempfile::tempdir().unwrap();
    let url = server(Some(directory.path())).await;
    let with = |ca: Option<&str>, skip_verify| Settings {
        ca: ca.map(|name| directory.path().join(name)),
        skip_verify,
        ..settings(directory.path(), Endpoint::Kubelet(url.clone()))
    };
    assert_listed(outcome(with(Some("ca.pem"), false)).await);
    assert_listed(outcome(with(None, true)).await);
    let (Status::Failed(reason), None) = outcome(with(None, false)).await else { panic!("trusted anybody") };
    assert!(reason.contains("certificate"), "{reason}");
    let error = Watcher::spawn(with(Some("token"), false), CancellationToken::new()).unwrap_err();
    assert!(error.contains("no certificate in"), "{error}");
}

#[tokio::test]
async fn what_goes_wrong_is_one_clear_reason_without_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let url = server(None).await;
    let kubelet = |url: &str| settings(directory.path(), Endpoint::Kubelet(url.to_owned()));
    let no_token = Settings { token: None, ..kubelet(&url) };
    let gone = Settings { token: Some("/nonexistent/token".into()), ..kubelet(&url) };
    let refused = "http://127.0.0.1:9";
    for (settings, expected) in [
        (no_token, "/pods answered 401 Unauthorized"),
        (gone, "cannot read /nonexistent/token: No such file"),
        (kubelet(&format!("{url}/html")), "answered no list of pods: expected value"),
        (kubelet(&format!("{url}/other")), "answered 404 Not Found"),
        (kubelet(refused), "Connection refused"),
    ] {
        let (Status::Failed(reason), None) = outcome(settings).await else { panic!("{expected}") };
        assert!(reason.contains(expected), "{reason}");
        assert!(!reason.contains(TOKEN), "{reason}");
    }
}
