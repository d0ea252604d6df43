//! What a kubelet asks of its runtime: pods and containers by the Container Runtime Interface, over curl's HTTP/2.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use prost::Message;

/// Network, processes and IPC of the host (`NamespaceMode` of `api.proto`).
const NODE: i32 = 2;

/// A runtime at a socket.
#[derive(Debug)]
pub struct Cri {
    socket: PathBuf,
}

/// What a pod is made of.
#[derive(Debug, Clone, Copy)]
pub struct PodSpec<'p> {
    /// Its name.
    pub name: &'p str,
    /// Its namespace.
    pub namespace: &'p str,
    /// Its uid.
    pub uid: &'p str,
    /// Whether pod and containers carry the labels of a kubelet.
    pub labelled: bool,
}

/// A pod with one container in the host's network; removed when dropped.
#[derive(Debug)]
pub struct Pod<'c> {
    cri: &'c Cri,
    /// Id of the sandbox.
    pub sandbox: String,
    /// Id of the container.
    pub container: String,
    uid: String,
}

impl Cri {
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Starts a pod with a container called `name` that does nothing.
    #[track_caller]
    pub fn run(&self, pod: PodSpec<'_>, name: &str, image: &str) -> Pod<'_> {
        let config = pod.config();
        let question = RunPodSandbox { config: Some(config.clone()) };
        let sandbox = self.call::<_, Id>("RunPodSandbox", &question).id;
        let mut started =
            Pod { cri: self, sandbox: sandbox.clone(), container: String::new(), uid: pod.uid.to_owned() };
        let mut labels = config.labels.clone();
        if pod.labelled {
            labels.insert("io.kubernetes.container.name".to_owned(), name.to_owned());
        }
        let container = ContainerConfig {
            metadata: Some(Name { name: name.to_owned() }),
            image: Some(Name { name: image.to_owned() }),
            labels,
            linux: Some(LinuxContainer {
                security: Some(ContainerSecurity { namespaces: Some(Namespaces::host()) }),
            }),
        };
        let question = CreateContainer { sandbox, config: Some(container), sandbox_config: Some(config) };
        started.container = self.call::<_, Id>("CreateContainer", &question).id;
        self.call::<_, Nothing>("StartContainer", &Id { id: started.container.clone() });
        started
    }

    /// One unary call: a frame there, a frame back.
    #[track_caller]
    fn call<Q: Message, A: Message + Default>(&self, method: &str, question: &Q) -> A {
        self.try_call(method, question).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call<Q: Message, A: Message + Default>(&self, method: &str, question: &Q) -> Result<A, String> {
        let message = question.encode_to_vec();
        let length = u32::try_from(message.len()).expect("a short question").to_be_bytes();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--http2-prior-knowledge"])
            .arg("--unix-socket")
            .arg(&self.socket)
            .args(["--header", "content-type: application/grpc", "--header", "te: trailers"])
            .args(["--dump-header", "/dev/stderr", "--data-binary", "@-"])
            .arg(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = curl.spawn().expect("start curl");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(&[&[0], &length[..], &message].concat()).expect("write to curl");
        drop(input);
        let output = child.wait_with_output().expect("wait for curl");
        let answer = output.stdout.get(5..).and_then(|message| A::decode(message).ok());
        answer.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let id = Id { id: self.sandbox.clone() };
        let _ = self.cri.try_call::<_, Nothing>("StopPodSandbox", &id);
        let _ = self.cri.try_call::<_, Nothing>("RemovePodSandbox", &id);
        // A kubelet removes the pod's own groups.
        let mut find = Command::new("find");
        find.args(["/sys/fs/cgroup", "-depth", "-type", "d", "-name", &format!("pod{}", self.uid)]);
        let _ = find.args(["-exec", "rmdir", "{}", ";"]).output();
    }
}

impl PodSpec<'_> {
    fn config(&self) -> SandboxConfig {
        let label = |key: &str, value: &str| (format!("io.kubernetes.pod.{key}"), value.to_owned());
        let labels = [label("name", self.name), label("namespace", self.namespace), label("uid", self.uid)];
        SandboxConfig {
            metadata: Some(SandboxName {
                name: self.name.to_owned(),
                uid: self.uid.to_owned(),
                namespace: self.namespace.to_owned(),
            }),
            labels: if self.labelled { labels.into() } else { BTreeMap::new() },
            linux: Some(LinuxSandbox {
                cgroup_parent: format!("/kubepods/burstable/pod{}", self.uid),
                security: Some(Security { namespaces: Some(Namespaces::host()) }),
            }),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandbox {
    #[prost(message, tag = "1")]
    config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxConfig {
    #[prost(message, tag = "1")]
    metadata: Option<SandboxName>,
    #[prost(btree_map = "string, string", tag = "6")]
    labels: BTreeMap<String, String>,
    #[prost(message, tag = "8")]
    linux: Option<LinuxSandbox>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxName {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxSandbox {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, tag = "2")]
    security: Option<Security>,
}

/// `LinuxSandboxSecurityContext`.
#[derive(Clone, PartialEq, Message)]
struct Security {
    #[prost(message, tag = "1")]
    namespaces: Option<Namespaces>,
}

#[derive(Clone, PartialEq, Message)]
struct Namespaces {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "2")]
    pid: i32,
    #[prost(int32, tag = "3")]
    ipc: i32,
}

impl Namespaces {
    fn host() -> Self {
        Self { network: NODE, pid: 1, ipc: NODE }
    }
}

/// An answer or question that is an id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    sandbox: String,
    #[prost(message, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, tag = "3")]
    sandbox_config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, tag = "1")]
    metadata: Option<Name>,
    #[prost(message, tag = "2")]
    image: Option<Name>,
    #[prost(btree_map = "string, string", tag = "9")]
    labels: BTreeMap<String, String>,
    #[prost(message, tag = "15")]
    linux: Option<LinuxContainer>,
}

#[derive(Clone, PartialEq, Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxContainer {
    #[prost(message, tag = "2")]
    security: Option<ContainerSecurity>,
}

/// `LinuxContainerSecurityContext`.
#[derive(Clone, PartialEq, Message)]
struct ContainerSecurity {
    #[prost(message, tag = "3")]
    namespaces: Option<Namespaces>,
}
