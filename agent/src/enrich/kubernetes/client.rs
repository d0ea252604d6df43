//! One question: the list of pods over HTTP, within a time and a size.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use sonde_collector::config::TlsConfig;
use sonde_collector::forward::client_tls;

use super::pods::{self, Pods};
use super::{Endpoint, Settings};

/// Time for one list.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Size of one list: a node has up to 250 pods of some 20 KB each.
const MAX_BODY: usize = 16 << 20;
/// A token is some 2 KB long.
const MAX_TOKEN: u64 = 64 << 10;

pub(super) struct Client {
    settings: Settings,
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Result<Self, String> {
        let tls = TlsConfig {
            ca_file: settings.ca.clone(),
            insecure_skip_verify: settings.skip_verify,
            ..TlsConfig::default()
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(client_tls(&tls)?)
            .timeout(TIMEOUT)
            // The token is for the server named, and the kubelet is on this node: no proxy of the environment.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sonde-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        let url = match &settings.endpoint {
            Endpoint::Kubelet(url) => format!("{}/pods", url.trim_end_matches('/')),
            Endpoint::Api { url, node } => format!(
                "{}/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&resourceVersion=0",
                url.trim_end_matches('/')
            ),
        };
        Ok(Self { settings, http, url })
    }

    /// The pods of the node.
    ///
    /// # Errors
    /// What is wrong, without the token.
    pub(super) async fn pods(&self) -> Result<Pods, String> {
        let mut request = self.http.get(&self.url);
        if let Some(token) = self.token().await? {
            request = request.header(AUTHORIZATION, token);
        }
        let mut response = request.send().await.map_err(|error| self.reason(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{} answered {status}", self.url));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.reason(&error))? {
            if body.len() + part.len() > MAX_BODY {
                return Err(format!("{} answered more than {MAX_BODY} bytes", self.url));
            }
            body.extend_from_slice(&part);
        }
        pods::parse(&body, &self.settings.labels)
            .map_err(|error| format!("{} answered no list of pods: {error}", self.url))
    }

    async fn token(&self) -> Result<Option<HeaderValue>, String> {
        use tokio::io::AsyncReadExt as _;
        let Some(path) = &self.settings.token else { return Ok(None) };
        let shown = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let file = tokio::fs::File::open(path).await.map_err(shown)?;
        let mut token = String::new();
        file.take(MAX_TOKEN).read_to_string(&mut token).await.map_err(shown)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| format!("{} holds no token", path.display()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// An error with its causes: the outermost alone says nothing useful.
    fn reason(&self, error: &dyn std::error::Error) -> String {
        let causes = std::iter::successors(error.source(), |error| error.source());
        let last = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
        format!("{}: {last}", self.url)
    }
}
