//! Credentials that a request must show, from a file.
//!
//! One per line: `bearer TOKEN` or `basic USER:PASSWORD`; empty lines and lines beginning with `#` are skipped.
//! All are compared, each in constant time, so that the answer's time tells nothing about them.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use subtle::ConstantTimeEq;

use super::ListenError;
use crate::config::Secret;

/// Paths that a kubelet asks without credentials; they tell nothing.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// The credentials of a listener. Each is kept as scheme and the text that follows it in the header.
#[derive(Debug)]
pub struct Credentials(Vec<(Scheme, Secret)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Basic,
}

impl Credentials {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ListenError> {
        let unusable = |reason: String| ListenError::File { what: "credentials", path: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        Self::parse(&text).map_err(unusable)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut known = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = match line.split_once(char::is_whitespace).map(|(kind, rest)| (kind, rest.trim())) {
                Some(("bearer", token)) if !token.is_empty() => Some((Scheme::Bearer, Secret::new(token))),
                Some(("basic", pair)) if pair.contains(':') => Some((Scheme::Basic, Secret::new(pair))),
                _ => None,
            };
            known.push(parsed.ok_or_else(|| {
                format!("line {} is neither `bearer TOKEN` nor `basic USER:PASSWORD`", index + 1)
            })?);
        }
        if known.is_empty() { Err("no credentials in it".into()) } else { Ok(Self(known)) }
    }

    /// Whether the headers carry one of them.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, shown)) = shown_credentials(headers) else { return false };
        let mut found = subtle::Choice::from(0);
        for (known_scheme, known) in &self.0 {
            found |= known.expose().as_bytes().ct_eq(&shown)
                & subtle::Choice::from(u8::from(*known_scheme == scheme));
        }
        found.into()
    }
}

fn shown_credentials(headers: &HeaderMap) -> Option<(Scheme, Vec<u8>)> {
    let (kind, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if kind.eq_ignore_ascii_case("bearer") {
        Some((Scheme::Bearer, rest.trim().as_bytes().to_vec()))
    } else if kind.eq_ignore_ascii_case("basic") {
        Some((Scheme::Basic, BASE64_STANDARD.decode(rest.trim()).ok()?))
    } else {
        None
    }
}

/// Middleware: answers 401 to whoever shows none of the credentials.
pub(super) async fn demand(State(known): State<Arc<Credentials>>, request: Request, next: Next) -> Response {
    if OPEN_PATHS.contains(&request.uri().path()) || known.admit(request.headers()) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer, Basic realm=\"sonde\"")];
    (StatusCode::UNAUTHORIZED, challenge, "credentials missing or unknown\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_what_stands_in_the_file_is_admitted() {
        let known = Credentials::parse("# comment\nbearer abc\n\nbasic user:pass word\n").unwrap();
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        let check = |value: &str, expected| assert_eq!(known.admit(&headers(value)), expected, "{value}");
        check("Bearer abc", true);
        check("bearer abc", true);
        check("Bearer abcd", false);
        check("Bearer ab", false);
        check("Bearer user:pass word", false);
        check(&basic("user:pass word"), true);
        check(&basic("user:pass"), false);
        check(&basic("abc"), false);
        check("Basic !!!", false);
        check("abc", false);
        assert!(!known.admit(&HeaderMap::new()));
    }

    #[test]
    fn a_malformed_file_is_refused_without_showing_it() {
        assert_eq!(Credentials::parse("").unwrap_err(), "no credentials in it");
        let error = Credentials::parse("bearer a\nhunter2").unwrap_err();
        assert_eq!(error, "line 2 is neither `bearer TOKEN` nor `basic USER:PASSWORD`");
    }
}
