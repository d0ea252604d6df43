//! TLS both ways: our listener as the target, our client as the sender, each checking the other.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sonde_collector::config::TlsConfig;
use sonde_collector::http::{ListenConfig, ListenTls};

use crate::harness::{open, request, series, target, until};
use crate::standin::{Reply, Standin};

/// PEM files of an authority and of a certificate that it signed for a name.
struct Files {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

fn make(dir: &Path, name: &str) -> Files {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let write = |file: &str, text: String| {
        let path = dir.join(format!("{name}.{file}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    Files {
        ca: write("ca", ca.pem()),
        cert: write("cert", cert.pem()),
        key: write("key", key.serialize_pem()),
    }
}

/// Whether a sample arrives, or what the sender's error says.
async fn arrives(dir: &Path, standin: &Standin, tls: TlsConfig) -> Result<(), String> {
    let data = tempfile::tempdir_in(dir).unwrap();
    let mut target = target(&standin.url);
    target.tls_config = tls;
    let pipeline = open(data.path(), vec![target]).await;
    pipeline.append(request(vec![series("s", 1, 1.0)])).await.unwrap();
    let stats = || pipeline.stats().targets["t"].clone();
    until("an outcome", async || stats().pending_samples == 0 || stats().last_error.is_some()).await;
    stats().last_error.map_or(Ok(()), Err)
}

#[tokio::test]
async fn certificates_are_checked_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = (make(dir.path(), "tsdb.example"), make(dir.path(), "client.example"));
    let mut listen = ListenConfig::new("127.0.0.1:0".parse().unwrap());
    listen.tls = Some(ListenTls { cert: server.cert, key: server.key, client_ca: Some(client.ca.clone()) });
    let standin = Standin::start_on(listen, "https", |_, _| Reply::taken()).await;
    let good = TlsConfig {
        ca_file: Some(server.ca.clone()),
        cert_file: Some(client.cert),
        key_file: Some(client.key),
        server_name: Some("tsdb.example".into()),
        insecure_skip_verify: false,
    };
    let outcome = async |tls: TlsConfig| arrives(dir.path(), &standin, tls).await;
    assert_eq!(outcome(good.clone()).await, Ok(()));
    let skipping = TlsConfig { ca_file: None, server_name: None, insecure_skip_verify: true, ..good.clone() };
    assert_eq!(outcome(skipping).await, Ok(()));
    let wrong_name = TlsConfig { server_name: None, ..good.clone() };
    assert!(outcome(wrong_name).await.unwrap_err().contains("not valid for name"));
    let wrong_authority = TlsConfig { ca_file: Some(client.ca), ..good.clone() };
    assert!(outcome(wrong_authority).await.is_err());
    let nobody = TlsConfig { cert_file: None, key_file: None, ..good };
    assert!(outcome(nobody).await.is_err());
    assert_eq!(standin.kept().len(), 2);
}
