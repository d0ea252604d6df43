//! The Docker Engine API, as Docker and podman speak it: one GET over a unix socket.
//!
//! The path has no version: a daemon then answers in its newest one, and none refuses it. The answer is bounded, since a
//! user's own daemon may say anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use crate::enrich::keep;
use crate::enrich::metadata::{ContainerMetadata, InspectError, Mount, PublishedPort};

/// An answer has some 10 KB.
const MAX_ANSWER: usize = 1 << 20;
/// Published ports taken over from one container; a range of more would be a mistake.
const MAX_PORTS: usize = 64;

/// Asks about a container by its id.
pub(super) async fn inspect(socket: &Path, id: &str) -> Result<ContainerMetadata, InspectError> {
    let (status, body) = get(socket, &format!("/containers/{id}/json")).await?;
    match status {
        StatusCode::OK => {
            let answer: Answer = serde_json::from_slice(&body)
                .map_err(|error| InspectError::Malformed(format!("the answer is no container: {error}")))?;
            Ok(answer.into_metadata())
        }
        StatusCode::NOT_FOUND => Err(InspectError::NotFound),
        status => {
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            Err(InspectError::Malformed(format!("the answer is {status}: {}", refusal.message)))
        }
    }
}

async fn get(socket: &Path, path: &str) -> Result<(StatusCode, Bytes), InspectError> {
    let unreachable =
        |error: &dyn std::fmt::Display| InspectError::Unreachable(format!("{}: {error}", socket.display()));
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(&error))?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| InspectError::Malformed(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            InspectError::Malformed(format!("the answer is larger than {MAX_ANSWER} bytes"))
        } else {
            unreachable(&error)
        }
    })?;
    Ok((status, body.to_bytes()))
}

/// What is read of `GET /containers/{id}/json`. Go writes `null` for what is empty.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    name: String,
    config: Option<Config>,
    network_settings: Option<NetworkSettings>,
    mounts: Option<Vec<MountPoint>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    image: String,
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
}

/// Without the environment: it holds secrets.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("image", &self.image).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NetworkSettings {
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Binding {
    host_ip: String,
    host_port: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct MountPoint {
    name: String,
    source: String,
    destination: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
}

impl Answer {
    fn into_metadata(self) -> ContainerMetadata {
        let config = self.config.unwrap_or_default();
        let ports = self.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
        let mounts = self.mounts.unwrap_or_default().into_iter().map(|mount| Mount {
            volume: match mount.name.as_str() {
                "" => keep::volume_of(&mount.source),
                name => Some(name.into()),
            },
            destination: mount.destination.into(),
            source: mount.source.into(),
        });
        ContainerMetadata {
            name: keep::name(self.name.trim_start_matches('/').to_owned()),
            image: keep::name(config.image),
            labels: keep::labels(config.labels.unwrap_or_default()),
            environment: keep::environment(config.env.iter().flatten().map(String::as_str)),
            published: published(&ports),
            mounts: keep::mounts(mounts),
        }
    }
}

/// The TCP ports of a map from `80/tcp` to bindings on the host, in order and without repetition.
fn published(ports: &BTreeMap<String, Option<Vec<Binding>>>) -> Vec<PublishedPort> {
    let tcp = ports.iter().filter(|(port, _)| port.ends_with("/tcp"));
    let bindings = tcp.flat_map(|(_, bindings)| bindings.iter().flatten());
    let found: BTreeSet<_> =
        bindings.filter_map(|binding| publish(&binding.host_ip, binding.host_port.parse().ok()?)).collect();
    found.into_iter().take(MAX_PORTS).collect()
}

/// A port of the host; no address means all of them.
pub(super) fn publish(address: &str, port: u16) -> Option<PublishedPort> {
    let address = match address {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        text => text.parse().ok()?,
    };
    Some(PublishedPort { address, port })
}
