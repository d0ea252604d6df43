//! From Docker's answer to the agent's own words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{ContainerInspectResponse, PortMap};

use crate::enrich::metadata::{ContainerMetadata, PublishedPort};

/// Published ports taken over from one container; a range of more would be a mistake.
const MAX_PORTS: usize = 64;

/// What the agent keeps of an answer.
pub(super) fn of(answer: ContainerInspectResponse) -> ContainerMetadata {
    let config = answer.config.unwrap_or_default();
    let ports = answer.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let labels = config.labels.unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>();
    ContainerMetadata {
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        labels,
        published: published(&ports),
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
