//! What is read of each kind's answers, field by field.

use std::path::PathBuf;

use super::stand_in::{Answers, field, pair, text};
use super::*;
use crate::enrich::{Mount, PublishedPort};

/// Asks a daemon with these answers about `abc`.
async fn inspect(kind: Kind, runtime: Runtime, answers: Answers) -> Result<ContainerMetadata, InspectError> {
    let directory = tempfile::tempdir().unwrap();
    let _daemon = StandIn::with(kind, &socket(directory.path(), kind), Behaviour::Knows, answers);
    let (mut inspector, _task) = spawn_with(sockets(directory.path()), CURIOUS, CancellationToken::new());
    ask(&mut inspector, runtime).await
}

fn mount(destination: &str, source: &str, volume: Option<&str>) -> Mount {
    Mount { destination: destination.into(), source: source.into(), volume: volume.map(Into::into) }
}

fn published(addresses: &[&str], port: u16) -> Vec<PublishedPort> {
    let at = |address: &&str| PublishedPort { address: address.parse().unwrap(), port };
    addresses.iter().map(at).collect()
}

fn pairs(map: BTreeMap<String, String>) -> Vec<(String, String)> {
    map.into_iter().collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

const DOCKER: &str = r#"{"Id":"abc","Name":"/web","Config":{"Image":"nginx:1",
"Labels":{"com.docker.compose.service":"b","a":"b"},"Env":["NOMAD_JOB_NAME=job","PASSWORD=x"]},
"Mounts":[{"Type":"volume","Name":"data","Source":"/srv/v","Destination":"/data"},
{"Type":"bind","Source":"/srv/b","Destination":"/bound"},
{"Type":"tmpfs","Name":"","Source":"","Destination":"/tmp"}],
"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],
"53/udp":[{"HostIp":"0.0.0.0","HostPort":"53"}],"81/tcp":null}}}"#;

#[tokio::test]
async fn docker_and_podman_describe_a_container() {
    for (runtime, kind) in [(Runtime::Docker, Kind::Docker), (Runtime::Podman, Kind::Podman)] {
        let metadata = inspect(kind, runtime, |_, _, _| Some(DOCKER.into())).await.unwrap();
        assert_eq!((metadata.name.as_str(), metadata.image.as_str()), ("web", "nginx:1"));
        assert_eq!(pairs(metadata.labels), owned(&[("com.docker.compose.service", "b")]));
        assert_eq!(pairs(metadata.environment), owned(&[("NOMAD_JOB_NAME", "job")]));
        assert_eq!(metadata.published, published(&["0.0.0.0", "::"], 8080));
        let mounts = [mount("/bound", "/srv/b", None), mount("/data", "/srv/v", Some("data"))];
        assert_eq!(metadata.mounts, mounts);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_container_is_malformed() {
    let error = inspect(Kind::Docker, Runtime::Docker, |_, _, _| Some(b"[]".to_vec())).await.unwrap_err();
    assert!(error.to_string().starts_with("the answer is no container: "), "{error}");
}

const SPEC: &str = r#"{"ociVersion":"1.0.2","process":{"env":["NOMAD_JOB_NAME=job","PASSWORD=x"]},
"mounts":[{"destination":"/proc","type":"proc","source":"proc"},
{"destination":"/etc/hosts","type":"bind","source":"/x/hosts","options":["rbind"]},
{"destination":"/data","type":"none","source":"/srv/nerdctl/data","options":["rbind","rw"]},
{"destination":"/claim","type":"bind","source":"/var/lib/kubelet/pods/8a/volumes/kubernetes.io~csi/pvc-1b/mount"}],
"annotations":{"io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"ns",
"io.kubernetes.cri.container-name":"nginx","io.kubernetes.cri.container-type":"container"}}"#;

fn container(labels: &[(&str, &str)]) -> Vec<u8> {
    let labels = labels.iter().map(|(key, value)| field(2, &pair(key, value)));
    let any =
        [field(1, b"types.containerd.io/opencontainers/runtime-spec/1/Spec"), field(2, SPEC.as_bytes())];
    let rest = [field(1, b"abc"), field(3, b"docker.io/library/nginx:1"), field(5, &any.concat())];
    labels.chain(rest).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn containerd_describes_a_container_of_kubernetes() {
    let metadata = inspect(Kind::Containerd, Runtime::Containerd, |path, namespace, question| {
        let known = path == "/containerd.services.containers.v1.Containers/Get" && namespace == "k8s.io";
        assert_eq!(text(1, question), "abc");
        known.then(|| field(1, &container(&[("io.kubernetes.pod.name", "label"), ("app", "x")])))
    });
    let metadata = metadata.await.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.image.as_str()), ("", "docker.io/library/nginx:1"));
    let labels = [
        ("io.kubernetes.container.name", "nginx"),
        ("io.kubernetes.pod.name", "label"),
        ("io.kubernetes.pod.namespace", "ns"),
    ];
    assert_eq!(pairs(metadata.labels), owned(&labels), "a label wins, an annotation fills in");
    assert_eq!(pairs(metadata.environment), owned(&[("NOMAD_JOB_NAME", "job")]));
    let claim = "/var/lib/kubelet/pods/8a/volumes/kubernetes.io~csi/pvc-1b/mount";
    let mounts = [mount("/claim", claim, Some("pvc-1b")), mount("/data", "/srv/nerdctl/data", None)];
    assert_eq!(metadata.mounts, mounts);
}

#[tokio::test]
async fn containerd_describes_a_container_of_nerdctl_in_its_namespace() {
    let metadata = inspect(Kind::Containerd, Runtime::Containerd, |path, namespace, _| {
        let namespaces = ["moby", "k8s.io", "buildkit", "team"];
        match (path, namespace) {
            ("/containerd.services.namespaces.v1.Namespaces/List", "") => {
                let names = namespaces.map(|name| field(1, &field(1, name.as_bytes())));
                Some(names.concat())
            }
            (_, "moby") => panic!("Docker's own are asked of Docker"),
            (_, "team") => {
                let ports = r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"127.0.0.1"},
                    {"HostPort":53,"ContainerPort":53,"Protocol":"udp","HostIP":"0.0.0.0"}]"#;
                let mounts = r#"[{"Type":"volume","Name":"data","Source":"/srv","Destination":"/data"}]"#;
                let labels = [("nerdctl/name", "web"), ("nerdctl/ports", ports), ("nerdctl/mounts", mounts)];
                Some(field(1, &container(&labels)))
            }
            _ => None,
        }
    });
    let metadata = metadata.await.unwrap();
    assert_eq!(metadata.name, "web");
    assert_eq!(metadata.published, published(&["127.0.0.1"], 8080));
    assert_eq!(metadata.mounts[1], mount("/data", "/srv/nerdctl/data", Some("data")));
}

/// A directory as nerdctl has it of a container; the answers of a stand-in capture nothing.
fn state_directory() -> PathBuf {
    std::env::temp_dir().join(format!("sonde-nerdctl-{}", std::process::id())).join("abc")
}

#[tokio::test]
async fn containerd_leads_to_the_ports_that_nerdctl_keeps_in_a_file() {
    std::fs::create_dir_all(state_directory()).unwrap();
    let config =
        r#"{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"127.0.0.1"}]}"#;
    std::fs::write(state_directory().join("network-config.json"), config).unwrap();
    let metadata = inspect(Kind::Containerd, Runtime::Containerd, |path, namespace, _| {
        let is_asked = path.ends_with("/Get") && namespace == "k8s.io";
        let label = state_directory().display().to_string();
        is_asked.then(|| field(1, &container(&[("nerdctl/state-dir", &label)])))
    });
    let published_ports = metadata.await.map(|metadata| metadata.published);
    std::fs::remove_dir_all(state_directory().parent().unwrap()).unwrap();
    assert_eq!(published_ports, Ok(published(&["127.0.0.1"], 8080)));
}

#[tokio::test]
async fn containerd_finds_a_sandbox_by_its_pod() {
    let metadata = inspect(Kind::Containerd, Runtime::Sandbox, |path, namespace, question| {
        if path != "/containerd.services.containers.v1.Containers/List" || namespace != "k8s.io" {
            return None;
        }
        let filter = r#"labels."io.kubernetes.pod.uid"=="abc",labels."io.cri-containerd.kind"=="sandbox""#;
        assert_eq!(text(1, question), filter);
        Some(field(1, &container(&[("io.kubernetes.pod.uid", "abc")])))
    });
    assert_eq!(metadata.await.unwrap().labels["io.kubernetes.pod.uid"], "abc");
}

const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
const SANDBOX: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
const SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";

fn status(labels: &[(&str, &str)]) -> Vec<u8> {
    let labels = labels.iter().map(|(key, value)| field(12, &pair(key, value)));
    let image = [field(1, b"sha256:12"), field(18, b"quay.io/nginx:1")].concat();
    let claim = "/var/lib/kubelet/pods/8a/volumes/kubernetes.io~csi/pvc-1b/mount";
    let mounted = [field(1, b"/claim"), field(2, claim.as_bytes())].concat();
    let rest = [field(2, &field(1, b"nginx")), field(8, &image), field(9, b"x"), field(14, &mounted)];
    field(1, &labels.chain(rest).collect::<Vec<_>>().concat())
}

fn pod() -> Vec<u8> {
    [field(1, b"web-0"), field(2, b"8a1f"), field(3, b"ns")].concat()
}

#[tokio::test]
async fn cri_describes_a_container() {
    let metadata = inspect(Kind::Cri, Runtime::Crio, |path, _, question| {
        assert_eq!((path, &*text(1, question)), (STATUS, "abc"));
        let labels = [("io.kubernetes.pod.name", "web-0"), ("io.kubernetes.pod.namespace", "ns")];
        Some(status(&labels))
    });
    let metadata = metadata.await.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.image.as_str()), ("nginx", "quay.io/nginx:1"));
    let labels = [
        ("io.kubernetes.container.name", "nginx"),
        ("io.kubernetes.pod.name", "web-0"),
        ("io.kubernetes.pod.namespace", "ns"),
    ];
    assert_eq!(pairs(metadata.labels), owned(&labels));
    let claim = "/var/lib/kubelet/pods/8a/volumes/kubernetes.io~csi/pvc-1b/mount";
    assert_eq!(metadata.mounts, [mount("/claim", claim, Some("pvc-1b"))]);
}

const POD_LABELS: [(&str, &str); 3] = [
    ("io.kubernetes.pod.name", "web-0"),
    ("io.kubernetes.pod.namespace", "ns"),
    ("io.kubernetes.pod.uid", "8a1f"),
];

#[tokio::test]
async fn cri_finds_the_pod_of_a_container_without_labels() {
    let metadata = inspect(Kind::Cri, Runtime::Crio, |path, _, question| match path {
        STATUS => Some(status(&[])),
        CONTAINERS => {
            assert_eq!(question, field(1, &field(1, b"abc")));
            Some(field(1, &[field(1, b"abc"), field(2, b"pod")].concat()))
        }
        SANDBOX => {
            assert_eq!(text(1, question), "pod");
            Some(field(1, &field(2, &pod())))
        }
        _ => None,
    });
    let labels = [&[("io.kubernetes.container.name", "nginx")], &POD_LABELS[..]].concat();
    assert_eq!(pairs(metadata.await.unwrap().labels), owned(&labels));
}

#[tokio::test]
async fn cri_describes_a_sandbox_by_its_id_and_by_its_pod() {
    let by_id = inspect(Kind::Cri, Runtime::Crio, |path, _, question| {
        assert_eq!(text(1, question), "abc");
        (path == SANDBOX).then(|| field(1, &field(2, &pod())))
    });
    assert_eq!(pairs(by_id.await.unwrap().labels), owned(&POD_LABELS));
    let by_pod = inspect(Kind::Cri, Runtime::Sandbox, |path, _, question| {
        assert_eq!(question, field(1, &field(3, &pair("io.kubernetes.pod.uid", "abc"))));
        (path == SANDBOXES).then(|| field(1, &field(2, &pod())))
    });
    assert_eq!(pairs(by_pod.await.unwrap().labels), owned(&POD_LABELS));
}
