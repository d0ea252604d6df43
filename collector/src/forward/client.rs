//! The HTTP client of one target.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::credentials;
use super::verdict::parse_retry_after;
use crate::config::{RemoteWriteTarget, TlsConfig};
use crate::wire::remote_write::{CONTENT_ENCODING, CONTENT_TYPE, VERSION, VERSION_HEADER};

/// Most of an answer's body that is read; it is only shown to people.
const MAX_MESSAGE: usize = 1024;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("target {target}: {reason}")]
pub struct ClientError {
    /// The target's name.
    pub target: String,
    /// What is wrong.
    pub reason: String,
}

/// Posts requests to one target.
#[derive(Debug)]
pub struct Client {
    target: RemoteWriteTarget,
    http: reqwest::Client,
    headers: HeaderMap,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// Begin of the body, on one line.
    pub message: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The request was never sent: own credentials cannot be read, or there was no connection to send it over.
    NotSent(String),
    /// The target may or may not have received it.
    Lost(String),
}

impl Client {
    /// Reads the target's files and prepares connections.
    pub fn new(target: RemoteWriteTarget, user_agent: &str) -> Result<Self, ClientError> {
        let failed = |reason: String| ClientError { target: target.identity(), reason };
        let tls = client_tls(&target.tls_config).map_err(failed)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(target.remote_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(user_agent)
            .build()
            .map_err(|error| failed(chain(&error)))?;
        let headers = headers(&target).map_err(failed)?;
        Ok(Self { target, http, headers })
    }

    /// The target.
    pub fn target(&self) -> &RemoteWriteTarget {
        &self.target
    }

    /// Posts one body.
    pub(super) async fn post(&self, body: Bytes) -> Result<Answer, NoAnswer> {
        let mut request = self.http.post(self.target.url.expose()).headers(self.headers.clone()).body(body);
        if let Some(value) = credentials::authorization(&self.target).await.map_err(NoAnswer::NotSent)? {
            request = request.header(reqwest::header::AUTHORIZATION, value);
        }
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| parse_retry_after(value, SystemTime::now()));
        let message = if status < 300 { String::new() } else { message(response).await };
        Ok(Answer { status, retry_after, message })
    }
}

/// Without a connection, TLS included, nothing can have arrived; in any other case something may have.
fn no_answer(error: reqwest::Error) -> NoAnswer {
    let never_sent = error.is_connect() || error.is_builder();
    let text = chain(&error.without_url());
    if never_sent { NoAnswer::NotSent(text) } else { NoAnswer::Lost(text) }
}

async fn message(mut response: reqwest::Response) -> String {
    let mut read = Vec::new();
    while read.len() < MAX_MESSAGE
        && let Ok(Some(part)) = response.chunk().await
    {
        read.extend_from_slice(&part[..part.len().min(MAX_MESSAGE - read.len())]);
    }
    String::from_utf8_lossy(&read).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error with its causes: the outermost alone says nothing useful.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

fn headers(target: &RemoteWriteTarget) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("content-type", CONTENT_TYPE), ("content-encoding", CONTENT_ENCODING), (VERSION_HEADER, VERSION)]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    for (name, value) in &target.headers {
        let key =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| format!("value of header `{name}` is not allowed"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// What a client trusts, and what it shows of itself.
///
/// # Errors
/// When a file cannot be used, by its name.
pub fn client_tls(tls: &TlsConfig) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(tls, provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            let shown = |error: &dyn std::fmt::Display| format!("cannot use client certificate: {error}");
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| shown(&error))?;
            builder
                .with_client_auth_cert(chain.map_err(|error| shown(&error))?, key)
                .map_err(|error| shown(&error))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn verifier(tls: &TlsConfig, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.ca_file {
        let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let read = read.map_err(|error| format!("cannot use {}: {error}", path.display()))?;
        let (added, _) = roots.add_parsable_certificates(read);
        if added == 0 {
            return Err(format!("no certificate in {}", path.display()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let name =
        tls.server_name.clone().map(ServerName::try_from).transpose().map_err(|error| error.to_string())?;
    // The usual verifier wants at least one authority; on a machine without any, ours refuses every certificate.
    if tls.insecure_skip_verify || name.is_some() || roots.is_empty() {
        return Ok(Arc::new(Verifier { provider, roots, name, skip: tls.insecure_skip_verify }));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map(|verifier| verifier as Arc<dyn ServerCertVerifier>).map_err(|error| error.to_string())
}

/// Checks certificates against a name that is not the URL's host, or not at all.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    name: Option<ServerName<'static>>,
    skip: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.skip {
            let cert = rustls::server::ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&cert, &self.roots, intermediates, now, algorithms)?;
            rustls::client::verify_server_name(&cert, self.name.as_ref().unwrap_or(server_name))?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
