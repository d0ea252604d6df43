//! What is kept of a runtime's answer.
//!
//! Labels and environments hold whatever their authors put there, secrets included, and a container may have thousands of
//! them. Kept is only what names a container, and so much of it that no container can make the agent large.

use std::collections::BTreeMap;

use super::metadata::Mount;

/// Labels that managers of containers write: Kubernetes, Docker's compose and swarm, ECS, Nomad, nerdctl, podman.
const LABELS: [&str; 8] = [
    "io.kubernetes.",
    "com.docker.compose.",
    "com.docker.stack.",
    "com.docker.swarm.",
    "com.amazonaws.ecs.",
    "com.hashicorp.nomad.",
    "io.podman.compose.",
    "nerdctl/name",
];
/// Variables that Nomad writes. Its others may hold tokens and what users like.
const VARIABLES: [&str; 10] = [
    "NOMAD_ALLOC_ID",
    "NOMAD_ALLOC_INDEX",
    "NOMAD_ALLOC_NAME",
    "NOMAD_DC",
    "NOMAD_GROUP_NAME",
    "NOMAD_JOB_ID",
    "NOMAD_JOB_NAME",
    "NOMAD_NAMESPACE",
    "NOMAD_REGION",
    "NOMAD_TASK_NAME",
];
/// Files that runtimes mount into every container; they are nobody's data.
const EVERYWHERE: [&str; 5] =
    ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log", "/dev/shm"];
/// Labels kept of one container: twice what Kubernetes and compose write together.
const MAX_LABELS: usize = 48;
/// Mounts kept of one container.
const MAX_MOUNTS: usize = 64;
/// Length of a name, a label's value or a path in bytes. What is longer is left out: a part of it would be wrong.
const MAX_TEXT: usize = 1024;

/// Labels that name a container.
pub(super) fn labels(all: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let is_known = |key: &str| LABELS.iter().any(|prefix| key.starts_with(prefix));
    all.into_iter()
        .filter(|(key, value)| is_known(key) && fits(key) && fits(value))
        .take(MAX_LABELS)
        .collect()
}

/// Variables that name a container, of `NAME=VALUE` strings.
pub(super) fn environment<'a>(all: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    all.into_iter()
        .filter_map(|variable| variable.split_once('='))
        .filter(|(name, value)| VARIABLES.contains(name) && fits(value))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Mounts of data, in order.
pub(super) fn mounts(all: impl IntoIterator<Item = Mount>) -> Vec<Mount> {
    let is_data = |mount: &Mount| {
        mount.source.starts_with('/')
            && mount.destination.starts_with('/')
            && !EVERYWHERE.contains(&&*mount.destination)
            && fits(&mount.source)
            && fits(&mount.destination)
    };
    let mut mounts: Vec<_> = all.into_iter().filter(is_data).take(MAX_MOUNTS).collect();
    mounts.sort_unstable();
    mounts
}

/// A name or an image; empty when it is too long to be one.
pub(super) fn name(text: String) -> String {
    if fits(&text) { text } else { String::new() }
}

/// The volume that a directory of the host belongs to, where its path tells: `…/volumes/<name>/_data` of Docker,
/// podman and nerdctl; `…/volumes/kubernetes.io~<kind>/<name>` of the kubelet, with the claim's `pvc-<uuid>` for its name.
pub(super) fn volume_of(source: &str) -> Option<Box<str>> {
    let (_, below) = source.rsplit_once("/volumes/")?;
    let name = match below.strip_suffix("/_data") {
        Some(path) => path.rsplit('/').next()?,
        None => below.split_once('~')?.1.split('/').nth(1)?,
    };
    (!name.is_empty()).then(|| name.into())
}

fn fits(text: &str) -> bool {
    text.len() <= MAX_TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(keys: &[&str]) -> Vec<(String, String)> {
        keys.iter().map(|key| (key.to_string(), "v".to_owned())).collect()
    }

    #[test]
    fn only_labels_that_name_are_kept() {
        let labels = labels(pairs(&[
            "io.kubernetes.pod.name",
            "com.docker.swarm.task.name",
            "com.amazonaws.ecs.cluster",
            "nerdctl/name",
            "traefik.http.middlewares.auth.basicauth.users",
            "io.buildah.version",
        ]));
        let kept: Vec<_> = labels.keys().map(String::as_str).collect();
        let expected = [
            "com.amazonaws.ecs.cluster",
            "com.docker.swarm.task.name",
            "io.kubernetes.pod.name",
            "nerdctl/name",
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn no_container_makes_the_agent_large() {
        let many = (0..10_000).map(|number| (format!("io.kubernetes.{number}"), "v".to_owned()));
        assert_eq!(labels(many).len(), MAX_LABELS);
        let long = [("io.kubernetes.pod.name".to_owned(), "x".repeat(MAX_TEXT + 1))];
        assert!(labels(long).is_empty());
        assert_eq!(name("x".repeat(MAX_TEXT + 1)), "");
        let mount = |number: usize| Mount {
            destination: format!("/{number}").into(),
            source: "/data".into(),
            volume: None,
        };
        assert_eq!(mounts((0..10_000).map(mount)).len(), MAX_MOUNTS);
    }

    #[test]
    fn secrets_of_the_environment_are_never_kept() {
        let all = [
            "NOMAD_JOB_NAME=web",
            "NOMAD_TOKEN=s3cret",
            "NOMAD_META_KEY=s3cret",
            "PASSWORD=s3cret",
            "NOMAD_DC",
        ];
        let kept = environment(all);
        assert_eq!(kept, BTreeMap::from([("NOMAD_JOB_NAME".to_owned(), "web".to_owned())]));
    }

    #[test]
    fn mounts_of_data_are_kept_in_order() {
        let mount = |destination: &str, source: &str| Mount {
            destination: destination.into(),
            source: source.into(),
            volume: None,
        };
        let all = [
            mount("/z", "/srv/z"),
            mount("/etc/hosts", "/var/lib/docker/containers/x/hosts"),
            mount("/tmp", "tmpfs"),
            mount("/a", "/srv/a"),
        ];
        assert_eq!(mounts(all), [mount("/a", "/srv/a"), mount("/z", "/srv/z")]);
    }

    #[test]
    fn volumes_by_path() {
        let cases = [
            ("/var/lib/docker/volumes/pgdata/_data", Some("pgdata")),
            ("/var/lib/containers/storage/volumes/pgdata/_data", Some("pgdata")),
            ("/var/lib/nerdctl/1935db59/volumes/default/pgdata/_data", Some("pgdata")),
            ("/var/lib/kubelet/pods/8a1f/volumes/kubernetes.io~csi/pvc-1b2c/mount", Some("pvc-1b2c")),
            ("/var/lib/kubelet/pods/8a1f/volumes/kubernetes.io~empty-dir/cache", Some("cache")),
            ("/srv/volumes/x/y", None),
            ("/srv/data", None),
            ("/x/volumes/", None),
        ];
        for (source, expected) in cases {
            assert_eq!(volume_of(source).as_deref(), expected, "{source}");
        }
    }
}
