//! From identities to the `container_id` and `app_id` labels.

use super::cgroup_path::Runtime;
use super::metadata::ContainerMetadata;

/// Docker shows ids cut to this length.
const SHORT_ID: usize = 12;

/// The `container_id` of a container without metadata.
pub fn anonymous(runtime: Runtime, id: &str) -> String {
    let id = match runtime {
        Runtime::Lxc | Runtime::Sandbox => id,
        _ => id.get(..SHORT_ID).unwrap_or(id),
    };
    format!("/{}/{id}", runtime.as_str())
}

/// The `container_id` of a container with metadata: by pod where Kubernetes made it, by service where Swarm did, else
/// by the runtime's name. `None` when the metadata has no name to offer.
pub fn named(runtime: Runtime, metadata: &ContainerMetadata) -> Option<String> {
    let label = |key: &str| metadata.labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
    if let (Some(namespace), Some(pod)) =
        (label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name"))
    {
        let container =
            label("io.kubernetes.container.name").filter(|name| *name != "POD").unwrap_or("sandbox");
        return Some(format!("/k8s/{namespace}/{pod}/{container}"));
    }
    if let Some(task) = label("com.docker.swarm.task.name") {
        return Some(swarm(task, label("com.docker.stack.namespace")));
    }
    let runtime = if runtime == Runtime::Kubepods { Runtime::Docker } else { runtime };
    (!metadata.name.is_empty()).then(|| format!("/{}/{}", runtime.as_str(), metadata.name))
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

/// The `app_id` of a `container_id`: that of a pod's container with the owner's name in the pod's place; empty for
/// everything else and for pods without an owner.
pub fn app_id(container_id: &str) -> String {
    let owner_of = |rest: &str| -> Option<String> {
        let mut parts = rest.splitn(3, '/');
        let (namespace, pod, container) = (parts.next()?, parts.next()?, parts.next()?);
        Some(format!("/k8s/{namespace}/{}/{container}", owner(pod)?))
    };
    container_id.strip_prefix("/k8s/").and_then(owner_of).unwrap_or_default()
}

/// The owner of a pod by the shape of the pod's name: a Deployment adds `-<hash>-<5>`, a DaemonSet `-<5>`, a
/// StatefulSet `-<number>`. Kubernetes makes hashes without vowels, so that names like `web-proxy` stay whole.
fn owner(pod: &str) -> Option<&str> {
    let (head, last) = pod.rsplit_once('-')?;
    if !last.is_empty() && last.len() < 5 && last.bytes().all(|b| b.is_ascii_digit()) {
        return Some(head);
    }
    if last.len() != 5 || !last.bytes().all(is_hash_byte) {
        return None;
    }
    match head.rsplit_once('-') {
        Some((owner, hash)) if (6..=10).contains(&hash.len()) && hash.bytes().all(is_hash_byte) => {
            Some(owner)
        }
        _ => Some(head),
    }
}

/// The alphabet of `k8s.io/apimachinery/pkg/util/rand`.
fn is_hash_byte(byte: u8) -> bool {
    b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(name: &str, labels: &[(&str, &str)]) -> ContainerMetadata {
        let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        ContainerMetadata { name: name.into(), labels, ..ContainerMetadata::default() }
    }

    #[test]
    fn without_metadata_the_id_is_cut() {
        let id = "b06f44ca4949d516ffe575c59aa58e31dd6af170f369265dda1352ba37aaddbd";
        assert_eq!(anonymous(Runtime::Docker, id), "/docker/b06f44ca4949");
        assert_eq!(anonymous(Runtime::Lxc, "a-long-container-name"), "/lxc/a-long-container-name");
        assert_eq!(anonymous(Runtime::Docker, "é"), "/docker/é");
    }

    #[test]
    fn names_by_manager() {
        let pod = [("io.kubernetes.pod.namespace", "ns"), ("io.kubernetes.pod.name", "web-0")];
        let container = [&pod[..], &[("io.kubernetes.container.name", "nginx")]].concat();
        let pause = [&pod[..], &[("io.kubernetes.container.name", "POD")]].concat();
        let task = [("com.docker.swarm.task.name", "shop_web.2.x9"), ("com.docker.stack.namespace", "shop")];
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: [Case<'_>; 6] = [
            ("web", &[], Some("/docker/web")),
            ("", &[], None),
            ("x", &container, Some("/k8s/ns/web-0/nginx")),
            ("x", &pause, Some("/k8s/ns/web-0/sandbox")),
            ("x", &task, Some("/swarm/shop/web/2")),
            ("x", &task[..1], Some("/swarm/_/shop_web/2")),
        ];
        for (name, labels, expected) in cases {
            assert_eq!(
                named(Runtime::Docker, &metadata(name, labels)).as_deref(),
                expected,
                "{name} {labels:?}"
            );
        }
        assert_eq!(named(Runtime::Kubepods, &metadata("web", &[])).as_deref(), Some("/docker/web"));
    }

    #[test]
    fn owners_of_pods() {
        let cases = [
            ("/k8s/ns/web-7d4b9c6f58-x2x7z/nginx", "/k8s/ns/web/nginx"),
            ("/k8s/ns/web-proxy-7d4b9c6f58-x2x7z/nginx", "/k8s/ns/web-proxy/nginx"),
            ("/k8s/ns/agent-x2x7z/agent", "/k8s/ns/agent/agent"),
            ("/k8s/ns/db-0/postgres", "/k8s/ns/db/postgres"),
            ("/k8s/ns/web-proxy/nginx", ""),
            ("/k8s/ns/single/nginx", ""),
            ("/docker/web-0", ""),
            ("/k8s/ns", ""),
        ];
        for (container_id, expected) in cases {
            assert_eq!(app_id(container_id), expected, "{container_id}");
        }
    }
}
