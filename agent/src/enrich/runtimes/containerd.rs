//! containerd's own API (`containerd.services.containers.v1`), which knows every container of the daemon, whoever made it.
//!
//! Of its messages only the fields that are read are declared, by the numbers of containerd's published `.proto` files;
//! others are skipped. Generating all of them would need `protoc` on every machine that builds the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::docker::publish;
use super::grpc::Connection;
use super::spec::Spec;
use crate::enrich::cgroup_path::Runtime;
use crate::enrich::keep;
use crate::enrich::metadata::{ContainerMetadata, InspectError, Mount, PublishedPort};

const GET: &str = "/containerd.services.containers.v1.Containers/Get";
const LIST: &str = "/containerd.services.containers.v1.Containers/List";
const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";
/// The header that chooses a namespace.
const NAMESPACE: &str = "containerd-namespace";
/// The namespace of Kubernetes, which is asked first.
const KUBERNETES: &str = "k8s.io";
/// The namespace of Docker, whose containers have neither name nor image here: Docker itself is asked about them.
const DOCKER: &str = "moby";
/// Namespaces asked about one container.
const MAX_NAMESPACES: usize = 16;

/// Asks about a container by its id, or about the sandbox of a pod by the pod's uid.
pub(super) async fn inspect(
    socket: &Path,
    runtime: Runtime,
    id: &str,
) -> Result<ContainerMetadata, InspectError> {
    let mut connection = Connection::open(socket).await?;
    match find(&mut connection, KUBERNETES, runtime, id).await {
        Err(InspectError::NotFound) => {}
        answer => return answer,
    }
    let answer: Namespaces = connection.call(NAMESPACES, None, ListNamespaces {}).await?;
    let others = answer.namespaces.into_iter().map(|namespace| namespace.name);
    let others = others.filter(|name| name != KUBERNETES && name != DOCKER).take(MAX_NAMESPACES);
    for namespace in others {
        match find(&mut connection, &namespace, runtime, id).await {
            Err(InspectError::NotFound) => {}
            answer => return answer,
        }
    }
    Err(InspectError::NotFound)
}

async fn find(
    connection: &mut Connection,
    namespace: &str,
    runtime: Runtime,
    id: &str,
) -> Result<ContainerMetadata, InspectError> {
    let header = Some((NAMESPACE, namespace));
    let container = if runtime == Runtime::Sandbox {
        let filter = format!(
            "labels.\"io.kubernetes.pod.uid\"==\"{id}\",labels.\"io.cri-containerd.kind\"==\"sandbox\""
        );
        let answer: Listed = connection.call(LIST, header, List { filters: vec![filter] }).await?;
        answer.containers.into_iter().next()
    } else {
        let answer: Got = connection.call(GET, header, Get { id: id.to_owned() }).await?;
        answer.container
    };
    container.map(Container::into_metadata).ok_or(InspectError::NotFound)
}

#[derive(Clone, PartialEq, prost::Message)]
struct Get {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Got {
    #[prost(message, tag = "1")]
    container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Listed {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Container {
    #[prost(btree_map = "string, string", tag = "2")]
    labels: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    image: String,
    #[prost(message, tag = "5")]
    spec: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListNamespaces {}

#[derive(Clone, PartialEq, prost::Message)]
struct Namespaces {
    #[prost(message, repeated, tag = "1")]
    namespaces: Vec<Namespace>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Namespace {
    #[prost(string, tag = "1")]
    name: String,
}

/// A port as nerdctl writes it into its label.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NerdctlPort {
    host_port: u16,
    protocol: String,
    #[serde(rename = "HostIP", default)]
    host_ip: String,
}

/// A mount as nerdctl writes it into its label, in Docker's words.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NerdctlMount {
    name: String,
    destination: String,
}

/// Published ports taken over from one container.
const MAX_PORTS: usize = 64;

impl Container {
    fn into_metadata(mut self) -> ContainerMetadata {
        let spec = Spec::parse(&self.spec.take().unwrap_or_default().value);
        let (name, published, volumes) = (self.label("nerdctl/name"), self.published(), self.volumes());
        let name = keep::name(name.to_owned());
        let mut labels = keep::labels(self.labels);
        spec.complete(&mut labels);
        let environment = spec.environment();
        let mounts = spec.mounts().map(|mount| {
            let volume = volumes.iter().find(|volume| volume.destination == *mount.destination);
            Mount { volume: volume.map_or(mount.volume, |volume| Some(volume.name.as_str().into())), ..mount }
        });
        let mounts = keep::mounts(mounts);
        ContainerMetadata { name, image: keep::name(self.image), labels, environment, published, mounts }
    }

    fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// The ports that nerdctl published.
    fn published(&self) -> Vec<PublishedPort> {
        let ports: Vec<NerdctlPort> = serde_json::from_str(self.label("nerdctl/ports")).unwrap_or_default();
        let tcp = ports.iter().filter(|port| port.protocol == "tcp");
        let found: BTreeSet<_> = tcp.filter_map(|port| publish(&port.host_ip, port.host_port)).collect();
        found.into_iter().take(MAX_PORTS).collect()
    }

    /// The volumes that nerdctl mounted.
    fn volumes(&self) -> Vec<NerdctlMount> {
        let mut mounts: Vec<NerdctlMount> =
            serde_json::from_str(self.label("nerdctl/mounts")).unwrap_or_default();
        mounts.retain(|mount| !mount.name.is_empty());
        mounts
    }
}
