//! A list of pods, as kubelet and API server both give it, and what is kept of it.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

/// Pods kept of one list: more than Kubernetes supports on a node.
const MAX_PODS: usize = 1024;
/// Length of a name or value in bytes; Kubernetes allows less.
const MAX_TEXT: usize = 256;

/// What is kept of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The node that runs it.
    pub node: String,
    /// Kind of what made it, as `Deployment`; empty for a pod that was made by hand.
    pub owner_kind: String,
    /// Name of what made it.
    pub owner_name: String,
    /// The labels that were asked for, by the name they have in series.
    pub labels: BTreeMap<&'static str, String>,
}

/// A label of pods to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLabel {
    /// Its name in Kubernetes.
    pub name: String,
    /// Its name in series.
    pub label: &'static str,
}

impl PodLabel {
    /// `label_` and the name, with `_` for what Prometheus does not allow in one, as kube-state-metrics writes them. Names
    /// of labels live as long as the program: to be made once, of settings.
    pub fn new(name: &str) -> Self {
        let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Self { name: name.to_owned(), label: Box::leak(format!("label_{clean}").into_boxed_str()) }
    }
}

/// Pods by namespace and name.
pub type Pods = HashMap<(String, String), Pod>;

#[derive(Deserialize)]
struct PodList {
    /// `null` of a kubelet whose node has no pods.
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

/// Reads a list and keeps the labels that were asked for.
///
/// # Errors
/// When it is no list of pods.
pub(super) fn parse(body: &[u8], wanted: &[PodLabel]) -> Result<Pods, serde_json::Error> {
    let list: PodList = serde_json::from_slice(body)?;
    let pods = list.items.unwrap_or_default().into_iter().take(MAX_PODS).map(|item| {
        let (owner_kind, owner_name) = owner(&item.metadata);
        let Metadata { name, namespace, labels: mut all, .. } = item.metadata;
        let labels = wanted.iter().filter_map(|wanted| Some((wanted.label, all.remove(&wanted.name)?)));
        let labels = labels.filter(|(_, value)| value.len() <= MAX_TEXT).collect();
        let node = fitting(item.spec.node_name);
        ((namespace, name), Pod { node, owner_kind, owner_name, labels })
    });
    Ok(pods.collect())
}

/// What made a pod, in the user's words: a Deployment owns its pods through a ReplicaSet whose name it ends with a hash
/// that the pod has for a label, a CronJob through a Job whose name ends with the minute of the run.
fn owner(pod: &Metadata) -> (String, String) {
    let Some(owner) = pod.owner_references.iter().find(|owner| owner.controller) else {
        return (String::new(), String::new());
    };
    let without = |suffix: &str| owner.name.strip_suffix(suffix)?.strip_suffix('-').map(str::to_owned);
    let above = match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = pod.labels.get("pod-template-hash").filter(|hash| !hash.is_empty());
            hash.and_then(|hash| without(hash)).map(|name| ("Deployment".to_owned(), name))
        }
        "Job" => {
            let minute = owner
                .name
                .rsplit('-')
                .next()
                .filter(|end| end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_digit()));
            minute.and_then(without).map(|name| ("CronJob".to_owned(), name))
        }
        _ => None,
    };
    let (kind, name) = above.unwrap_or_else(|| (owner.kind.clone(), owner.name.clone()));
    (fitting(kind), fitting(name))
}

fn fitting(text: String) -> String {
    if text.len() <= MAX_TEXT { text } else { String::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, hash: &str, owners: serde_json::Value) -> serde_json::Value {
        json!({
            "metadata": {
                "name": name, "namespace": "ns", "uid": "x",
                "labels": { "team": "shop", "secret": "no", "pod-template-hash": hash },
                "ownerReferences": owners,
            },
            "spec": { "nodeName": "node-1", "containers": [] },
            "status": { "phase": "Running" },
        })
    }

    #[test]
    fn owners_are_those_that_people_know() {
        let by = |kind: &str, name: &str| json!([{ "kind": kind, "name": name, "controller": true }]);
        let cases = [
            (by("ReplicaSet", "web-7d4b9c6f58"), ("Deployment", "web")),
            (by("ReplicaSet", "bare"), ("ReplicaSet", "bare")),
            (by("Job", "backup-29453760"), ("CronJob", "backup")),
            (by("Job", "import"), ("Job", "import")),
            (by("StatefulSet", "db"), ("StatefulSet", "db")),
            (by("Node", "node-1"), ("Node", "node-1")),
            (json!([{ "kind": "Other", "name": "x" }]), ("", "")),
            (json!([]), ("", "")),
        ];
        for (owners, (kind, name)) in cases {
            let list = json!({ "kind": "PodList", "items": [pod("p", "7d4b9c6f58", owners.clone())] });
            let pods = parse(list.to_string().as_bytes(), &[PodLabel::new("team")]).unwrap();
            let found = &pods[&("ns".to_owned(), "p".to_owned())];
            assert_eq!((&*found.owner_kind, &*found.owner_name, &*found.node), (kind, name, "node-1"));
            assert_eq!(Vec::from_iter(&found.labels), [(&"label_team", &"shop".to_owned())]);
        }
    }

    #[test]
    fn what_is_no_list_is_an_error_and_a_long_one_is_cut() {
        assert!(parse(b"{}", &[]).is_err());
        assert!(parse(b"<html>", &[]).is_err());
        assert_eq!(parse(br#"{"items":[]}"#, &[]).unwrap().len(), 0);
        assert_eq!(parse(br#"{"items":null}"#, &[]).unwrap().len(), 0);
        let items: Vec<_> = (0..2000).map(|number| pod(&format!("p{number}"), "", json!([]))).collect();
        let list = json!({ "items": items }).to_string();
        assert_eq!(parse(list.as_bytes(), &[]).unwrap().len(), MAX_PODS);
    }
}
