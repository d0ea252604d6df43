//! Containers of pods and what Kubernetes tells of their pods.

use std::sync::Arc;

use super::Workloads;
use super::record::Record;
use crate::enrich::kubernetes::Pods;
use crate::enrich::naming;
use crate::model::WorkloadIx;
use crate::registry::Labels;

impl Workloads {
    /// Takes over a list of pods. A pod that it does not have any more leaves its containers as they are.
    pub fn handle_pods(&mut self, pods: Arc<Pods>) {
        self.pods = pods;
        for ix in self.table.indices() {
            self.describe_pod(ix);
        }
    }

    /// Labels a container by its pod, if it is one's and the pod is known.
    pub(super) fn describe_pod(&mut self, ix: WorkloadIx) {
        let Some(record) = self.table.get_mut(ix) else { return };
        let Some((namespace, name, container)) = of_pod(record) else { return };
        let Some(pod) = self.pods.get(&(namespace.clone(), name.clone())) else { return };
        let app = app(&pod.owner_kind, &pod.owner_name);
        let app_id =
            app.and_then(|app| naming::app_id_of_owner(&record.container_id, app)).unwrap_or_default();
        if record.labels.get("app_id").unwrap_or_default() != app_id {
            record.labels =
                Labels::new([("container_id", &*record.container_id), ("app_id", app_id.as_str())]);
        }
        let fixed = [
            ("namespace", &*namespace),
            ("pod", &*name),
            ("container", &*container),
            ("owner_kind", &*pod.owner_kind),
            ("owner_name", &*pod.owner_name),
            ("node", &*pod.node),
        ];
        let own = pod.labels.iter().map(|(name, value)| (*name, value.as_str()));
        record.pod = Some(Labels::new(fixed.into_iter().chain(own)));
    }
}

/// What a Coroot server calls the application that owns a pod: who made a ReplicaSet or a Job ends its name with a hash or
/// a number. It knows no others by name, such as the node that owns a static pod.
fn app<'p>(kind: &str, name: &'p str) -> Option<&'p str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match kind {
        "Deployment" | "DaemonSet" | "StatefulSet" | "CronJob" => Some(name),
        "ReplicaSet" => name.rsplit_once('-').map(|(app, _)| app),
        "Job" => Some(name.rsplit_once('-').filter(|(_, end)| is_number(end)).map_or(name, |(app, _)| app)),
        _ => None,
    }
}

/// Namespace, pod and container, as the runtime tells them.
fn of_pod(record: &Record) -> Option<(String, String, String)> {
    let label = |key: &str| record.metadata.as_ref()?.labels.get(key).cloned();
    let container = label("io.kubernetes.container.name").unwrap_or_default();
    Some((label("io.kubernetes.pod.namespace")?, label("io.kubernetes.pod.name")?, container))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_are_named_as_a_coroot_server_names_them() {
        let cases = [
            (("Deployment", "web"), Some("web")),
            (("StatefulSet", "db-2"), Some("db-2")),
            (("CronJob", "backup"), Some("backup")),
            // Of Argo Rollouts, whose pods do not have the hash for a label.
            (("ReplicaSet", "shop-6c9f7d8b54"), Some("shop")),
            (("ReplicaSet", "alone"), None),
            (("Job", "import-2024"), Some("import")),
            (("Job", "import-now"), Some("import-now")),
            (("Job", "import"), Some("import")),
            (("Node", "node-1"), None),
            (("SparkApplication", "pi-x2x7z"), None),
            (("", ""), None),
        ];
        for ((kind, name), expected) in cases {
            assert_eq!(app(kind, name), expected, "{kind} {name}");
        }
    }
}
