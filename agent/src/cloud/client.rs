//! Requests to a metadata service: plain HTTP to one address, never through a proxy or to where an answer redirects,
//! each with a deadline, each answer bounded.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// For one request, the connection included; Coroot's time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An instance's description with its user data has some 64 KiB.
const MAX_ANSWER: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service could not be reached or broke off.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// No complete answer within the time.
    #[error("{0}: no answer within 5 s")]
    Timeout(String),
    /// It answers, but not with what was asked for.
    #[error("{url}: answered with status {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// The answer is not what the provider documents.
    #[error("{url}: the answer {reason}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The address of a service: `http://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    authority: String,
}

impl BaseUrl {
    pub(super) fn of_host(host: &str) -> Self {
        Self { authority: host.to_owned() }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}", self.authority)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| format!("`{text}` {reason}");
        let uri: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("does not begin with http://"));
        }
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        match authority {
            Some(authority) if uri.query().is_none() && ["", "/"].contains(&uri.path()) => {
                Ok(Self { authority: authority.as_str().to_owned() })
            }
            _ => Err(wrong("is not a host with or without a port")),
        }
    }
}

/// Asks one metadata service.
#[derive(Clone, Debug)]
pub(super) struct Client {
    base: BaseUrl,
    timeout: Duration,
}

/// Names and values of a request's own headers.
pub(super) type Headers<'h> = &'h [(&'static str, &'h str)];

impl Client {
    pub(super) fn new(base: BaseUrl) -> Self {
        Self { base, timeout: TIMEOUT }
    }

    #[cfg(test)]
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The text at a path; `None` when the service has no such path, as it says of what a machine lacks.
    pub(super) async fn text(&self, path: &str, headers: Headers<'_>) -> Result<Option<String>, Error> {
        self.send(Method::GET, path, headers, "").await
    }

    /// The text at a path that every machine has.
    pub(super) async fn required(&self, path: &str, headers: Headers<'_>) -> Result<String, Error> {
        self.text(path, headers).await?.ok_or_else(|| Error::Status { url: self.url(path), status: 404 })
    }

    /// The JSON at a path that every machine has.
    pub(super) async fn json(&self, path: &str, headers: Headers<'_>) -> Result<Value, Error> {
        self.parse(path, &self.required(path, headers).await?)
    }

    /// What a service answers to a request for a token.
    pub(super) async fn put(
        &self,
        path: &str,
        headers: Headers<'_>,
        body: &str,
    ) -> Result<Option<String>, Error> {
        self.send(Method::PUT, path, headers, body).await
    }

    /// Reads JSON that `path` answered with.
    pub(super) fn parse(&self, path: &str, text: &str) -> Result<Value, Error> {
        match serde_json::from_str(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
            Ok(_) => Err(self.answer(path, "is no JSON object")),
            Err(_) => Err(self.answer(path, "is no JSON")),
        }
    }

    /// An error about the answer of `path`.
    pub(super) fn answer(&self, path: &str, reason: &str) -> Error {
        Error::Answer { url: self.url(path), reason: reason.to_owned() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: &str,
    ) -> Result<Option<String>, Error> {
        let exchange = self.exchange(method, path, headers, body);
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| Error::Timeout(self.url(path)))?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: &str,
    ) -> Result<Option<String>, Error> {
        let failed = |reason: String| Error::Unreachable { url: self.url(path), reason };
        let authority = &self.base.authority;
        let with_port = if has_port(authority) { authority.clone() } else { format!("{authority}:80") };
        let stream = TcpStream::connect(with_port).await.map_err(|error| failed(error.to_string()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
        // Ends with the answer, or with the sender when the time is up.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", authority)
            .header("user-agent", concat!("sonde-agent/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let request = request.body(body).map_err(|error| failed(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        let status = answer.status().as_u16();
        match status {
            404 => return Ok(None),
            200..300 => {}
            _ => return Err(Error::Status { url: self.url(path), status }),
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.answer(path, &format!("breaks off: {error}")))?;
        let text =
            String::from_utf8(body.to_bytes().to_vec()).map_err(|_| self.answer(path, "is no text"))?;
        Ok(Some(text))
    }
}

/// Whether a port follows the host; an IPv6 address stands in brackets.
fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_or_without_a_port() {
        for text in ["http://127.0.0.1:8080", "http://metadata", "http://[::1]:80/", "http://[fd00::1]"] {
            let base: BaseUrl = text.parse().unwrap();
            assert_eq!(base.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "metadata",
            "https://metadata",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://u:p@a",
            "ftp://a",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
        assert!(has_port("a:80") && has_port("[::1]:80"));
        assert!(!has_port("a") && !has_port("[fd00::1]"));
    }
}
