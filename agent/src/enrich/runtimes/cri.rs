//! The Container Runtime Interface, version `runtime.v1`: CRI-O, cri-dockerd, and whoever else serves a kubelet.
//!
//! Of its messages only the fields that are used are declared, by the numbers of Kubernetes' published `api.proto`; others
//! are skipped.

use std::collections::BTreeMap;
use std::path::Path;

use super::grpc::Connection;
use crate::enrich::cgroup_path::Runtime;
use crate::enrich::keep;
use crate::enrich::metadata::{ContainerMetadata, InspectError, Mount};

const CONTAINER_STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const LIST_CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
const SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
const LIST_SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";

const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_UID: &str = "io.kubernetes.pod.uid";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// Asks about a container or a sandbox by its id, or about the sandbox of a pod by the pod's uid.
pub(super) async fn inspect(
    socket: &Path,
    runtime: Runtime,
    id: &str,
) -> Result<ContainerMetadata, InspectError> {
    let mut connection = Connection::open(socket).await?;
    if runtime == Runtime::Sandbox {
        return sandbox_of_pod(&mut connection, id).await;
    }
    match container(&mut connection, id).await {
        Err(InspectError::NotFound) => sandbox(&mut connection, id).await.map(SandboxStatus::into_metadata),
        answer => answer,
    }
}

async fn container(connection: &mut Connection, id: &str) -> Result<ContainerMetadata, InspectError> {
    let question = ContainerStatusQuestion { id: id.to_owned() };
    let answer: ContainerStatusAnswer = connection.call(CONTAINER_STATUS, None, question).await?;
    let status = answer.status.ok_or(InspectError::NotFound)?;
    let mut metadata = status.into_metadata();
    if !metadata.labels.contains_key(POD_NAME) {
        // Not made by a kubelet, which labels every container: the pod is found by the sandbox.
        let pod = pod_of(connection, id).await?;
        metadata.labels.extend(pod.into_metadata().labels);
    }
    Ok(metadata)
}

/// The sandbox that a container is in.
async fn pod_of(connection: &mut Connection, id: &str) -> Result<SandboxStatus, InspectError> {
    let filter = Some(ContainerFilter { id: id.to_owned() });
    let answer: Containers = connection.call(LIST_CONTAINERS, None, ListContainers { filter }).await?;
    let container = answer.containers.into_iter().next().ok_or(InspectError::NotFound)?;
    sandbox(connection, &container.sandbox_id).await
}

async fn sandbox(connection: &mut Connection, id: &str) -> Result<SandboxStatus, InspectError> {
    let question = SandboxStatusQuestion { id: id.to_owned() };
    let answer: SandboxStatusAnswer = connection.call(SANDBOX_STATUS, None, question).await?;
    answer.status.ok_or(InspectError::NotFound)
}

async fn sandbox_of_pod(connection: &mut Connection, uid: &str) -> Result<ContainerMetadata, InspectError> {
    let labels = BTreeMap::from([(POD_UID.to_owned(), uid.to_owned())]);
    let question = ListSandboxes { filter: Some(SandboxFilter { labels }) };
    let answer: Sandboxes = connection.call(LIST_SANDBOXES, None, question).await?;
    let sandbox = answer.items.into_iter().next().ok_or(InspectError::NotFound)?;
    Ok(SandboxStatus { metadata: sandbox.metadata, labels: sandbox.labels }.into_metadata())
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatusQuestion {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatusAnswer {
    #[prost(message, tag = "1")]
    status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatus {
    #[prost(message, tag = "2")]
    metadata: Option<ContainerName>,
    #[prost(message, tag = "8")]
    image: Option<Image>,
    #[prost(string, tag = "9")]
    image_ref: String,
    #[prost(btree_map = "string, string", tag = "12")]
    labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "14")]
    mounts: Vec<CriMount>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerName {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(string, tag = "1")]
    image: String,
    #[prost(string, tag = "18")]
    user_specified: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CriMount {
    #[prost(string, tag = "1")]
    container_path: String,
    #[prost(string, tag = "2")]
    host_path: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListContainers {
    #[prost(message, tag = "1")]
    filter: Option<ContainerFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerFilter {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Containers {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<ListedContainer>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListedContainer {
    #[prost(string, tag = "2")]
    sandbox_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxStatusQuestion {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxStatusAnswer {
    #[prost(message, tag = "1")]
    status: Option<SandboxStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxStatus {
    #[prost(message, tag = "2")]
    metadata: Option<SandboxName>,
    #[prost(btree_map = "string, string", tag = "7")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxName {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListSandboxes {
    #[prost(message, tag = "1")]
    filter: Option<SandboxFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxFilter {
    #[prost(btree_map = "string, string", tag = "3")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sandboxes {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Sandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sandbox {
    #[prost(message, tag = "2")]
    metadata: Option<SandboxName>,
    #[prost(btree_map = "string, string", tag = "5")]
    labels: BTreeMap<String, String>,
}

impl ContainerStatus {
    fn into_metadata(self) -> ContainerMetadata {
        let name = self.metadata.unwrap_or_default().name;
        let image = self.image.unwrap_or_default();
        let image =
            [image.user_specified, image.image, self.image_ref].into_iter().find(|name| !name.is_empty());
        let mut labels = keep::labels(self.labels);
        insert_missing(&mut labels, CONTAINER_NAME, name.clone());
        let mounts = self.mounts.into_iter().map(|mount| Mount {
            volume: keep::volume_of(&mount.host_path),
            destination: mount.container_path.into(),
            source: mount.host_path.into(),
        });
        ContainerMetadata {
            name: keep::name(name),
            image: keep::name(image.unwrap_or_default()),
            labels,
            mounts: keep::mounts(mounts),
            ..ContainerMetadata::default()
        }
    }
}

impl SandboxStatus {
    fn into_metadata(self) -> ContainerMetadata {
        let mut labels = keep::labels(self.labels);
        let pod = self.metadata.unwrap_or_default();
        for (label, value) in [(POD_NAMESPACE, pod.namespace), (POD_NAME, pod.name), (POD_UID, pod.uid)] {
            insert_missing(&mut labels, label, value);
        }
        ContainerMetadata { labels, ..ContainerMetadata::default() }
    }
}

fn insert_missing(labels: &mut BTreeMap<String, String>, label: &str, value: String) {
    if !value.is_empty() && !labels.contains_key(label) {
        labels.insert(label.to_owned(), value);
    }
}
