//! From identities to the `container_id` and `app_id` labels.
//!
//! Coroot's names, where Coroot has one. What it does not know is `/<runtime>/<name>`, below ECS
//! `/ecs/<cluster>/<task family>/<task>/<container>`. Pure: the wall clock is an argument.

mod kubernetes;

use std::collections::BTreeMap;

use super::cgroup_path::Runtime;
use super::metadata::ContainerMetadata;
use crate::model::UnixMillis;

/// Docker shows ids cut to this length.
const SHORT_ID: usize = 12;
/// Labels that the agent of ECS gives to its containers.
const ECS_CLUSTER: &str = "com.amazonaws.ecs.cluster";
const ECS_FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
const ECS_TASK: &str = "com.amazonaws.ecs.task-arn";
const ECS_CONTAINER: &str = "com.amazonaws.ecs.container-name";

/// The `container_id` of a container without metadata.
pub fn anonymous(runtime: Runtime, id: &str) -> String {
    let id = match runtime {
        Runtime::Docker | Runtime::Containerd | Runtime::Crio | Runtime::Podman | Runtime::Kubepods => {
            short(id)
        }
        Runtime::Lxc | Runtime::Nomad | Runtime::Nspawn | Runtime::Qemu | Runtime::Sandbox => id,
    };
    let id = if runtime == Runtime::Nomad { id.replacen('.', "/", 1) } else { id.to_owned() };
    format!("/{}/{id}", runtime.as_str())
}

/// The `container_id` of what a user runs in its own slice. The user chooses ids and names, so they are never those of
/// the system's containers.
pub fn of_user(user: Option<u32>, container_id: String) -> String {
    match user {
        Some(user) => format!("/user-{user}{container_id}"),
        None => container_id,
    }
}

/// An id of hexadecimal digits cut as Docker does; names stay whole.
fn short(id: &str) -> &str {
    let is_id = id.len() > SHORT_ID && id.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id { &id[..SHORT_ID] } else { id }
}

/// The `container_id` of a container with metadata: by pod where Kubernetes made it, by task where Nomad, Swarm or ECS
/// did, else by the runtime's name. `None` when the metadata has no name to offer. `now` tells which pods are those
/// of a cronjob.
pub fn named(runtime: Runtime, metadata: &ContainerMetadata, now: Option<UnixMillis>) -> Option<String> {
    let label = |key: &str| metadata.labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
    if let (Some(namespace), Some(pod)) =
        (label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name"))
    {
        let container = container_of_pod(metadata).unwrap_or("sandbox");
        return Some(kubernetes::container_id(namespace, pod, container, now));
    }
    if let Some(task) = label("com.docker.swarm.task.name") {
        return Some(swarm(task, label("com.docker.stack.namespace")));
    }
    if let Some(name) = nomad(&metadata.environment) {
        return Some(name);
    }
    if let (Some(family), Some(container)) = (label(ECS_FAMILY), label(ECS_CONTAINER)) {
        return Some(ecs(label(ECS_CLUSTER), family, label(ECS_TASK), container));
    }
    let runtime = if runtime == Runtime::Kubepods { Runtime::Docker } else { runtime };
    let name = label("nerdctl/name").unwrap_or(&metadata.name);
    (!name.is_empty()).then(|| format!("/{}/{}", runtime.as_str(), short(name)))
}

/// Whether a pod was made of it and no container of the pod: it holds the pod's namespaces, and in a virtual machine or
/// in gVisor the containers too.
pub fn is_sandbox(metadata: &ContainerMetadata) -> bool {
    metadata.labels.contains_key("io.kubernetes.pod.name") && container_of_pod(metadata).is_none()
}

/// The name that a pod gives to its container; the sandbox has none, or with Docker `POD`.
fn container_of_pod(metadata: &ContainerMetadata) -> Option<&str> {
    let name = metadata.labels.get("io.kubernetes.container.name")?;
    Some(name.as_str()).filter(|name| !name.is_empty() && *name != "POD")
}

/// A task is named `<service>.<replica>.<task id>`, and its service begins with the stack's name, if it has one.
fn swarm(task: &str, stack: Option<&str>) -> String {
    let mut parts = task.split('.');
    let service = parts.next().unwrap_or_default();
    let replica = parts.next().unwrap_or("1");
    match stack {
        Some(stack) => {
            let service =
                service.strip_prefix(stack).and_then(|rest| rest.strip_prefix('_')).unwrap_or(service);
            format!("/swarm/{stack}/{service}/{replica}")
        }
        None => format!("/swarm/_/{service}/{replica}"),
    }
}

/// The name of a task of Nomad by the environment that Nomad gives it.
pub fn nomad(environment: &BTreeMap<String, String>) -> Option<String> {
    let of = |key: &str| environment.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let namespace = of("NOMAD_NAMESPACE").unwrap_or("default");
    let (job, group) = (of("NOMAD_JOB_NAME")?, of("NOMAD_GROUP_NAME")?);
    let (allocation, task) = (of("NOMAD_ALLOC_ID")?, of("NOMAD_TASK_NAME")?);
    Some(format!("/nomad/{namespace}/{job}/{group}/{allocation}/{task}"))
}

/// Cluster and task may be given by ARN: what counts is the last element.
fn ecs(cluster: Option<&str>, family: &str, task: Option<&str>, container: &str) -> String {
    let last = |arn: Option<&str>| arn.and_then(|arn| arn.rsplit('/').next()).unwrap_or("_").to_owned();
    let task = last(task);
    format!("/ecs/{}/{family}/{}/{container}", last(cluster), short(&task))
}

/// The `app_id` of a `container_id`: `/k8s/<namespace>/<owner>` of a pod's container; empty for everything else and for
/// pods without an owner. A Coroot server knows no other form, and drops the traffic of what it does not know.
pub fn app_id(container_id: &str) -> String {
    container_id.strip_prefix("/k8s/").and_then(kubernetes::app_id).unwrap_or_default()
}

/// The `app_id` of a pod's container whose owner is known; `None` for what is no container of a pod.
pub fn app_id_of_owner(container_id: &str, owner: &str) -> Option<String> {
    kubernetes::app_id_of_owner(container_id.strip_prefix("/k8s/")?, owner)
}

/// A container that is called as the first line, with lines `<name>=<value>` for its labels and its environment.
pub(crate) fn metadata_of<'a>(mut lines: impl Iterator<Item = &'a str>) -> ContainerMetadata {
    let name = lines.next().unwrap_or_default().to_owned();
    let pairs = lines.filter_map(|line| line.split_once('='));
    let labels: BTreeMap<_, _> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    ContainerMetadata { name, environment: labels.clone(), labels, ..ContainerMetadata::default() }
}

#[cfg(test)]
mod tests;
