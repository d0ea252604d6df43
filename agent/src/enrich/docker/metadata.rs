//! From Docker's answer to the agent's own words.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{ContainerInspectResponse, PortMap};

use crate::enrich::keep;
use crate::enrich::metadata::{ContainerMetadata, Mount, PublishedPort};

/// Published ports taken over from one container; a range of more would be a mistake.
const MAX_PORTS: usize = 64;

/// What the agent keeps of an answer.
pub(super) fn of(answer: ContainerInspectResponse) -> ContainerMetadata {
    let config = answer.config.unwrap_or_default();
    let ports = answer.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let environment = config.env.unwrap_or_default();
    let mounts = answer.mounts.unwrap_or_default().into_iter().map(|mount| {
        let source = mount.source.unwrap_or_default();
        let name = mount.name.filter(|name| !name.is_empty()).map(Into::into);
        Mount {
            destination: mount.destination.unwrap_or_default().into(),
            volume: name.or_else(|| keep::volume_of(&source)),
            source: source.into(),
        }
    });
    ContainerMetadata {
        name: keep::name(answer.name.unwrap_or_default().trim_start_matches('/').to_owned()),
        image: keep::name(config.image.unwrap_or_default()),
        labels: keep::labels(config.labels.unwrap_or_default()),
        environment: keep::environment(environment.iter().map(String::as_str)),
        published: published(&ports),
        mounts: keep::mounts(mounts),
    }
}

/// The TCP ports of a map from `80/tcp` to bindings on the host, in order and without repetition.
fn published(ports: &PortMap) -> Vec<PublishedPort> {
    let tcp = ports.iter().filter(|(port, _)| port.ends_with("/tcp"));
    let bindings = tcp.flat_map(|(_, bindings)| bindings.iter().flatten());
    let found: BTreeSet<PublishedPort> = bindings
        .filter_map(|binding| {
            let address = match binding.host_ip.as_deref() {
                None | Some("") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Some(text) => text.parse().ok()?,
            };
            let port = binding.host_port.as_deref()?.parse().ok()?;
            Some(PublishedPort { address, port })
        })
        .collect();
    found.into_iter().take(MAX_PORTS).collect()
}
