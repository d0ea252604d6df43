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
        let app_id = Some(&pod.owner_name).filter(|name| !name.is_empty());
        let app_id = app_id.and_then(|owner| naming::app_id_of_owner(&record.container_id, owner));
        if let Some(app_id) = app_id.filter(|app_id| record.labels.get("app_id") != Some(app_id)) {
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

/// Namespace, pod and container, as the runtime tells them.
fn of_pod(record: &Record) -> Option<(String, String, String)> {
    let label = |key: &str| record.metadata.as_ref()?.labels.get(key).cloned();
    let container = label("io.kubernetes.container.name").unwrap_or_default();
    Some((label("io.kubernetes.pod.namespace")?, label("io.kubernetes.pod.name")?, container))
}
