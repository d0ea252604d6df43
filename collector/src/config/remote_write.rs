//! A remote-write target, with the names that Prometheus uses in its own configuration.
//!
//! Secrets may stand in a file of their own, which is read again before each use so that they can be rotated.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::{Problems, Secret};
use crate::units::deserialize_duration;

const TIMEOUT_ALLOWED: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);
/// Headers that the protocol itself sets.
const RESERVED_HEADERS: [&str; 7] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// One place to forward to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteWriteTarget {
    /// Where to post; `http` or `https`. User and password in it mean basic authentication.
    pub url: Secret,
    /// Name in metrics, status and of the cursor; derived from the URL when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// How long one request may take.
    #[serde(default = "default_timeout", deserialize_with = "deserialize_duration")]
    pub remote_timeout: Duration,
    /// User and password.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// A token in the `Authorization` header.
    #[serde(default)]
    pub authorization: Option<Authorization>,
    /// Further headers of each request.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// How to check the target's certificate, and which one to show.
    #[serde(default)]
    pub tls_config: TlsConfig,
}

/// Basic authentication.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// User.
    #[serde(default)]
    pub username: String,
    /// Password; excludes `password_file`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// File that holds nothing but the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// A token in the `Authorization` header.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// Scheme before the token; `Bearer` when absent.
    #[serde(default = "default_scheme", rename = "type")]
    pub scheme: String,
    /// The token; excludes `credentials_file`.
    #[serde(default)]
    pub credentials: Option<Secret>,
    /// File that holds nothing but the token.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
}

/// TLS of a connection to a target.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Authorities to trust instead of the system's, PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Own certificate chain, PEM.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Key of the own certificate, PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Name that the target's certificate must carry, when it is not the URL's host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Accept any certificate.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_scheme() -> String {
    "Bearer".into()
}

impl FromStr for RemoteWriteTarget {
    type Err = std::convert::Infallible;

    /// A target from its URL alone; [`RemoteWriteTarget::problems`] judges it.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            url: Secret::new(url),
            name: None,
            remote_timeout: default_timeout(),
            basic_auth: None,
            authorization: None,
            headers: BTreeMap::new(),
            tls_config: TlsConfig::default(),
        })
    }
}

impl RemoteWriteTarget {
    /// What the target is called in metrics, status and on disk. Holds no secret: of a URL only host, port and path,
    /// and a checksum that tells apart targets which differ in scheme, user, or names of query parameters. What else
    /// may be secret is not in it: from a checksum, a weak password can be guessed.
    pub fn identity(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let shown = self.shown_url();
        let shown = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
        let safe: String = shown.chars().map(|c| if is_name_char(c) { c } else { '_' }).take(80).collect();
        format!("{safe}-{:08x}", crc32c::crc32c(self.public_parts().as_bytes()))
    }

    /// The URL without its password and the values of its query; all of what is no URL may be secret.
    fn public_parts(&self) -> String {
        let Ok(url) = Url::parse(self.url.expose()) else { return String::new() };
        let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        format!("{} {} {}", url.username(), self.shown_url(), names.join(" "))
    }

    /// The URL without user, password and query, which may hold secrets.
    pub fn shown_url(&self) -> String {
        match Url::parse(self.url.expose()) {
            Ok(url) if url.has_host() => format!(
                "{}://{}{}{}",
                url.scheme(),
                url.host_str().unwrap_or(""),
                url.port().map(|port| format!(":{port}")).unwrap_or_default(),
                url.path()
            ),
            _ => "<invalid url>".into(),
        }
    }

    /// What is wrong with it; `path` is where it stands, such as `remote_write[0]`.
    pub fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::new();
        self.check_url(path, &mut problems);
        if let Some(name) = &self.name {
            problems.check(
                !name.is_empty()
                    && name.len() <= 100
                    && name.chars().all(is_name_char)
                    && !name.starts_with('.'),
                &format!("{path}.name"),
                format!("`{name}` cannot be used as a name"),
                "1 to 100 of letters, digits, `-`, `_`, `.`, not beginning with `.`",
            );
        }
        problems.check(
            TIMEOUT_ALLOWED.contains(&self.remote_timeout),
            &format!("{path}.remote_timeout"),
            "out of range",
            "100ms to 10m",
        );
        self.check_credentials(path, &mut problems);
        self.check_headers(path, &mut problems);
        self.check_tls(path, &mut problems);
        problems
    }

    fn check_url(&self, path: &str, problems: &mut Problems) {
        let allowed = "http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH";
        let path = format!("{path}.url");
        match Url::parse(self.url.expose()) {
            Err(error) => problems.push(path, format!("{} is not a URL: {error}", self.given_url()), allowed),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                let message = format!("scheme `{}` of {} is not supported", url.scheme(), self.given_url());
                problems.push(path, message, allowed);
            }
            Ok(url) => problems.check(url.has_host(), &path, "no host", allowed),
        }
    }

    /// What was given, unless it may hold a password.
    fn given_url(&self) -> String {
        let given = self.url.expose();
        if given.contains(['@', '?']) { "<secret>".into() } else { format!("`{given}`") }
    }

    fn check_credentials(&self, path: &str, problems: &mut Problems) {
        let with_user = Url::parse(self.url.expose()).is_ok_and(|url| !url.username().is_empty());
        let ways = [self.basic_auth.is_some(), self.authorization.is_some(), with_user];
        problems.check(
            ways.iter().filter(|used| **used).count() <= 1,
            path,
            "more than one kind of credentials",
            "one of basic_auth, authorization, or a user in the url",
        );
        if let Some(basic) = &self.basic_auth {
            let path = format!("{path}.basic_auth");
            problems.check(!basic.username.is_empty(), &format!("{path}.username"), "missing", "a user name");
            check_one_source(&path, "password", basic.password.is_some(), &basic.password_file, problems);
        }
        if let Some(authorization) = &self.authorization {
            let path = format!("{path}.authorization");
            let (given, file) = (authorization.credentials.is_some(), &authorization.credentials_file);
            problems.check(
                given || file.is_some(),
                &path,
                "no credentials",
                "credentials or credentials_file",
            );
            problems.check(
                !authorization.scheme.is_empty() && !authorization.scheme.eq_ignore_ascii_case("basic"),
                &format!("{path}.type"),
                format!("`{}` cannot be used here", authorization.scheme),
                "any scheme but Basic, for which there is basic_auth",
            );
            check_one_source(&path, "credentials", given, file, problems);
        }
    }

    fn check_headers(&self, path: &str, problems: &mut Problems) {
        for (name, value) in &self.headers {
            let path = format!("{path}.headers.{name}");
            problems.check(
                HeaderName::from_str(name).is_ok(),
                &path,
                "not a header name",
                "letters, digits, `-`",
            );
            problems.check(
                HeaderValue::from_str(value.expose()).is_ok(),
                &path,
                "not a header value",
                "visible ASCII",
            );
            problems.check(
                !RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()),
                &path,
                "is set by the protocol itself",
                "any other header; basic_auth and authorization for credentials",
            );
        }
    }

    fn check_tls(&self, path: &str, problems: &mut Problems) {
        let tls = &self.tls_config;
        let path = format!("{path}.tls_config");
        for (name, file) in
            [("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)]
        {
            check_readable(&format!("{path}.{name}"), file.as_deref(), problems);
        }
        problems.check(
            tls.cert_file.is_some() == tls.key_file.is_some(),
            &path,
            "a client certificate needs both halves",
            "cert_file and key_file together, or neither",
        );
        if let Some(name) = &tls.server_name {
            let good = rustls_pki_types::ServerName::try_from(name.as_str()).is_ok();
            problems.check(
                good,
                &format!("{path}.server_name"),
                format!("`{name}` is no host name"),
                "a DNS name or IP",
            );
        }
    }
}

/// What is wrong with all targets, each alone and together.
pub fn problems_of_targets(targets: &[RemoteWriteTarget]) -> Problems {
    let mut problems = Problems::new();
    let mut seen = HashSet::new();
    for (index, target) in targets.iter().enumerate() {
        let path = format!("remote_write[{index}]");
        problems.extend(target.problems(&path));
        let identity = target.identity();
        if !seen.insert(identity.clone()) {
            problems.push(
                path,
                format!("`{identity}` stands there twice"),
                "another url, or a name of its own if they differ in a secret only",
            );
        }
    }
    problems
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn check_one_source(path: &str, field: &str, given: bool, file: &Option<PathBuf>, problems: &mut Problems) {
    let both = given && file.is_some();
    problems.check(!both, path, format!("{field} and {field}_file are both given"), "one of the two");
    check_readable(&format!("{path}.{field}_file"), file.as_deref(), problems);
}

fn check_readable(path: &str, file: Option<&Path>, problems: &mut Problems) {
    if let Some(file) = file
        && let Err(error) = std::fs::File::open(file)
    {
        problems.push(path, format!("cannot read {}: {error}", file.display()), "a readable file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> RemoteWriteTarget {
        url.parse().unwrap()
    }

    #[test]
    fn a_plain_url_is_good() {
        assert!(target("http://127.0.0.1:9090/api/v1/write").problems("remote_write[0]").is_empty());
    }

    #[test]
    fn every_problem_is_reported() {
        let mut bad = target("ftp://user:hunter2@host/x");
        bad.name = Some("a/b".into());
        bad.remote_timeout = Duration::ZERO;
        bad.basic_auth =
            Some(BasicAuth { password_file: Some("/nonexistent/p".into()), ..BasicAuth::default() });
        bad.headers.insert("Content-Type".into(), Secret::new("text/plain"));
        bad.tls_config.cert_file = Some("/nonexistent/cert".into());
        let problems = bad.problems("remote_write[0]");
        let paths: Vec<&str> =
            problems.iter().map(|problem| problem.path.trim_start_matches("remote_write[0]")).collect();
        assert_eq!(
            paths,
            [
                ".url",
                ".name",
                ".remote_timeout",
                "",
                ".basic_auth.username",
                ".basic_auth.password_file",
                ".headers.Content-Type",
                ".tls_config.cert_file",
                ".tls_config",
            ]
        );
        assert!(!problems.to_string().contains("hunter2"));
    }

    #[test]
    fn what_is_not_a_url_is_shown_unless_it_may_hold_a_secret() {
        let message = |url: &str| target(url).problems("x").to_string();
        assert!(
            message("not a url").starts_with("x.url: `not a url` is not a URL: "),
            "{}",
            message("not a url")
        );
        assert!(message("user:hunter2@host").starts_with("x.url: "), "{}", message("user:hunter2@host"));
        assert!(message("ftp://host/path").contains("ftp://host/path"));
        for secret in
            ["user:hunter2@host", "//user:hunter2@host/", "host?p=hunter2", "ftp://user:hunter2@host/"]
        {
            assert!(!message(secret).contains("hunter2"), "{}", message(secret));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut target = target("https://user:hunter2@host:8428/api/v1/write?p=hunter2");
        target.headers.insert("X-Key".into(), Secret::new("hunter2"));
        let shown = format!("{target:?} {} {}", target.identity(), target.shown_url());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(target.shown_url(), "https://host:8428/api/v1/write");
    }

    #[test]
    fn a_name_tells_targets_apart_but_nothing_about_their_secrets() {
        let identity = |url: &str| target(url).identity();
        let one = identity("https://user:hunter2@host/w?key=hunter2&tenant=a");
        assert_eq!(one, identity("https://user:other@host/w?key=other&tenant=b"));
        for other in [
            "http://user:hunter2@host/w?key=hunter2&tenant=a",
            "https://user:hunter2@host:8080/w?key=hunter2&tenant=a",
            "https://other:hunter2@host/w?key=hunter2&tenant=a",
            "https://user:hunter2@host/v?key=hunter2&tenant=a",
            "https://user:hunter2@host/w?tenant=a",
        ] {
            assert_ne!(one, identity(other), "{other}");
        }
        assert_eq!(identity("user:hunter2@host"), identity("user:other@host"));
    }

    #[test]
    fn the_same_target_twice_is_refused() {
        let one = target("http://h/w");
        assert_eq!(problems_of_targets(&[one.clone(), target("http://h/w?x")]).len(), 0);
        assert_eq!(problems_of_targets(&[one.clone(), one]).len(), 1);
    }

    #[test]
    #[cfg(feature = "server")]
    fn the_names_are_those_of_prometheus() {
        let read: RemoteWriteTarget = toml::from_str(
            r#"
            url = "https://tsdb/api/v1/write"
            name = "tsdb"
            remote_timeout = "5s"
            headers = { X-Scope-OrgID = "a" }
            [authorization]
            type = "Token"
            credentials = "t"
            [tls_config]
            server_name = "tsdb.example"
            insecure_skip_verify = true
            "#,
        )
        .unwrap();
        assert_eq!(read.remote_timeout, Duration::from_secs(5));
        assert_eq!(read.identity(), "tsdb");
        assert!(read.problems("x").is_empty());
        assert!(toml::from_str::<RemoteWriteTarget>("url = 'x'\nuser = 'y'").is_err());
    }
}
