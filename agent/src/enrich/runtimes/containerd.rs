//! containerd's own API (`containerd.services.containers.v1`), which knows every container of the daemon, whoever made it.
//!
//! Of its messages only the fields that are read are declared, by the numbers of containerd's published `.proto` files;
//! others are skipped. Generating all of them would need `protoc` on every machine that builds the agent.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::grpc::Connection;
use super::nerdctl;
use super::sockets::Socket;
use super::spec::Spec;
use crate::enrich::cgroup_path::Runtime;
use crate::enrich::keep;
use crate::enrich::metadata::{ContainerMetadata, InspectError, Mount};

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
    socket: &Socket,
    runtime: Runtime,
    id: &str,
) -> Result<ContainerMetadata, InspectError> {
    let mut connection = Connection::open(&socket.path).await?;
    let container = find_anywhere(&mut connection, runtime, id).await?;
    let ports = nerdctl::ports(id, &container.labels, &socket.root).await;
    Ok(container.into_metadata(&ports))
}

async fn find_anywhere(
    connection: &mut Connection,
    runtime: Runtime,
    id: &str,
) -> Result<Container, InspectError> {
    match find(connection, KUBERNETES, runtime, id).await {
        Err(InspectError::NotFound) => {}
        answer => return answer,
    }
    let answer: Namespaces = connection.call(NAMESPACES, None, ListNamespaces {}).await?;
    let others = answer.namespaces.into_iter().map(|namespace| namespace.name);
    let others = others.filter(|name| name != KUBERNETES && name != DOCKER).take(MAX_NAMESPACES);
    for namespace in others {
        match find(connection, &namespace, runtime, id).await {
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
) -> Result<Container, InspectError> {
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
    container.ok_or(InspectError::NotFound)
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

/// A mount as nerdctl writes it into its label, in Docker's words.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NerdctlMount {
    name: String,
    destination: String,
}

impl Container {
    fn into_metadata(mut self, ports: &[nerdctl::Port]) -> ContainerMetadata {
        let spec = Spec::parse(&self.spec.take().unwrap_or_default().value);
        let (name, volumes) = (self.label("nerdctl/name"), self.volumes());
        let published = nerdctl::published(ports);
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

    /// The volumes that nerdctl mounted.
    fn volumes(&self) -> Vec<NerdctlMount> {
        let mut mounts: Vec<NerdctlMount> =
            serde_json::from_str(self.label("nerdctl/mounts")).unwrap_or_default();
        mounts.retain(|mount| !mount.name.is_empty());
        mounts
    }
}
