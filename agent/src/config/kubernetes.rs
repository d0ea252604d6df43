//! Whom to ask about pods.

use std::net::IpAddr;

use super::build::Reader;
use crate::enrich::kubernetes::{Endpoint, PodLabel, Settings};

/// Each label makes a series of every container larger.
const MAX_LABELS: usize = 16;

impl Reader<'_> {
    /// The kubelet or the API server; `None` unless one of them is named.
    pub(super) fn kubernetes(&mut self) -> Option<Settings> {
        let [kubelet, api] = ["kubelet", "kubernetes-api"].map(|name| self.text(name));
        let node = self.text("kubernetes-node");
        for url in [&kubelet, &api].into_iter().flatten() {
            let is_url = ["http://", "https://"]
                .iter()
                .any(|scheme| url.text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
            // User and password in an address would show in the log.
            if !is_url || url.text.contains(['@', '?', '#', ' ']) {
                self.problem(url, "is no address of a server");
            }
        }
        let mut settings = Settings {
            token: self.file("kubernetes-token"),
            ca: self.file("kubernetes-ca"),
            skip_verify: self.switch("kubernetes-skip-verify"),
            labels: Vec::new(),
            endpoint: match (&kubelet, &api, &node) {
                (Some(_), Some(api), _) => {
                    self.problem(api, "given beside a kubelet");
                    return None;
                }
                (Some(kubelet), None, _) => Endpoint::Kubelet(kubelet.text.clone()),
                (None, Some(api), Some(node)) => {
                    if !node.text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
                        self.problem(node, "is no name of a node");
                    }
                    Endpoint::Api { url: api.text.clone(), node: node.text.clone() }
                }
                (None, Some(api), None) => {
                    self.problem(api, "needs kubernetes-node");
                    return None;
                }
                (None, None, _) => {
                    self.needless();
                    return None;
                }
            },
        };
        self.judge_token(kubelet.or(api).map(|url| url.text).as_deref().unwrap_or_default());
        for given in self.sources.all("kubernetes-label").to_vec() {
            if given.text.is_empty() || given.text.len() > 317 || settings.labels.len() >= MAX_LABELS {
                self.problem(&given, "is no label, or one too many");
                continue;
            }
            let label = PodLabel::new(&given.text);
            if let Some(same) = settings.labels.iter().find(|other| other.label == label.label) {
                self.problem(&given, format!("makes the same {} as {}", label.label, same.name));
            } else {
                settings.labels.push(label);
            }
        }
        Some(settings)
    }

    /// Nobody is asked, so what says how to ask is a mistake.
    fn needless(&mut self) {
        for name in ["node", "token", "ca", "skip-verify", "label"].map(|name| format!("kubernetes-{name}")) {
            if let Some(given) = self.sources.all(&name).last().cloned() {
                self.problem(&given, "given without kubelet or kubernetes-api");
            }
        }
    }

    /// Whoever listens on the way could use a token that is not encrypted.
    fn judge_token(&mut self, url: &str) {
        let Some(token) = self.text("kubernetes-token") else { return };
        let Some(host) = url.strip_prefix("http://").map(host) else { return };
        let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if !is_loopback {
            self.problem(&token, format!("would go to {host} without encryption"));
        }
    }
}

/// The host of what follows the scheme of an address.
fn host(rest: &str) -> &str {
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}
