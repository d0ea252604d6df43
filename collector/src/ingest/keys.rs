//! API keys: who may write, and for which project.
//!
//! A file with one `PROJECT KEY` per line; empty lines and lines beginning with `#` are skipped. A project may have
//! several keys, so that they can be rotated.

use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, header};
use subtle::{Choice, ConstantTimeEq};

use crate::config::Secret;

/// Project of whoever writes when no keys are asked for.
pub const DEFAULT_PROJECT: &str = "default";

/// Who may write.
#[derive(Debug, Default)]
pub struct ApiKeys {
    /// Project and key; empty means that no key is asked for.
    known: Vec<(String, Secret)>,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use api keys {path}: {reason}", path = path.display())]
pub struct KeysError {
    path: PathBuf,
    reason: String,
}

impl ApiKeys {
    /// No key is asked for: everything belongs to the default project.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let failed = |reason: String| KeysError { path: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut known: Vec<(String, Secret)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [project, key] = words[..] else {
                return Err(format!("line {} is not `PROJECT KEY`", index + 1));
            };
            if known.iter().any(|(_, other)| other.expose() == key) {
                return Err(format!("line {} repeats a key", index + 1));
            }
            known.push((project.into(), Secret::new(key)));
        }
        if known.is_empty() { Err("no key in it".into()) } else { Ok(Self { known }) }
    }

    /// The project of a request; `None` when it shows no known key. All keys are compared, in constant time.
    pub fn project(&self, headers: &HeaderMap) -> Option<&str> {
        if self.known.is_empty() {
            return Some(DEFAULT_PROJECT);
        }
        let shown = shown_key(headers)?.as_bytes();
        let mut found = None;
        for (project, key) in &self.known {
            let equal: Choice = key.expose().as_bytes().ct_eq(shown);
            if equal.into() {
                found = Some(project.as_str());
            }
        }
        found
    }
}

fn shown_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok();
    }
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn a_key_tells_the_project() {
        let keys = ApiKeys::parse("# keys\na secret-1\na secret-2\nb secret-3\n").unwrap();
        assert_eq!(keys.project(&headers("x-api-key", "secret-2")), Some("a"));
        assert_eq!(keys.project(&headers("authorization", "Bearer secret-3")), Some("b"));
        assert_eq!(keys.project(&headers("authorization", "Basic secret-3")), None);
        assert_eq!(keys.project(&headers("x-api-key", "secret")), None);
        assert_eq!(keys.project(&HeaderMap::new()), None);
        assert_eq!(ApiKeys::anonymous().project(&HeaderMap::new()), Some("default"));
    }

    #[test]
    fn a_malformed_file_is_refused_without_showing_it() {
        let check = |text: &str, expected: &str| assert_eq!(ApiKeys::parse(text).unwrap_err(), expected);
        check("", "no key in it");
        check("a secret\nhunter2", "line 2 is not `PROJECT KEY`");
        check("a secret\nb secret", "line 2 repeats a key");
    }
}
