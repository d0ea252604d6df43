//! The OCI runtime specification of a container, of which containerd keeps a copy in JSON.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::enrich::keep;
use crate::enrich::metadata::Mount;

/// What is read of a specification (`config.json` of the OCI runtime specification 1.0).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Spec {
    process: Option<Process>,
    mounts: Option<Vec<SpecMount>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Process {
    env: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpecMount {
    destination: String,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    options: Option<Vec<String>>,
}

/// Annotations by which containerd's CRI says what it made, and the labels that the kubelet writes for the same.
const ANNOTATIONS: [(&str, &str); 4] = [
    ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"),
    ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"),
    ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"),
    ("io.kubernetes.cri.container-name", "io.kubernetes.container.name"),
];

impl Spec {
    /// Reads a specification; one that makes no sense has nothing to say.
    pub(super) fn parse(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }

    /// Variables that name the container.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let all = self.process.iter().filter_map(|process| process.env.as_ref()).flatten();
        keep::environment(all.map(String::as_str))
    }

    /// Adds the labels that the annotations stand for, where they are missing.
    pub(super) fn complete(&self, labels: &mut BTreeMap<String, String>) {
        let Some(annotations) = &self.annotations else { return };
        for (annotation, label) in ANNOTATIONS {
            if let Some(value) = annotations.get(annotation).filter(|value| !value.is_empty()) {
                labels.entry(label.to_owned()).or_insert_with(|| value.clone());
            }
        }
    }

    /// What is mounted from the host.
    pub(super) fn mounts(self) -> impl Iterator<Item = Mount> {
        let is_bind = |mount: &SpecMount| {
            let mut options = mount.options.iter().flatten();
            mount.kind == "bind" || options.any(|option| option == "bind" || option == "rbind")
        };
        self.mounts.unwrap_or_default().into_iter().filter(is_bind).map(|mount| Mount {
            volume: keep::volume_of(&mount.source),
            destination: mount.destination.into(),
            source: mount.source.into(),
        })
    }
}
