//! Containers in cgroup paths.

use super::{Owner, Runtime, elements};

/// What runtimes write before or around an id, and the runtime it stands for.
///
/// The monitor processes (`crio-conmon-`, `libpod-conmon-`, `lxc.monitor`) run on the host and are no containers.
const PREFIXES: [(&str, Runtime); 8] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("containerd-", Runtime::Containerd),
    ("crio-", Runtime::Crio),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
    ("kata_", Runtime::Kubepods),
];

/// Finds the innermost container and the offset where its own element ends.
pub(super) fn innermost(path: &str) -> Option<(Owner, usize)> {
    let mut found: Option<(Owner, usize)> = None;
    let mut before = Before::default();
    for (element, end) in elements(path) {
        if let Some((runtime, id)) = container(element, &before) {
            found = Some((Owner::Container { runtime, id: id.into() }, end));
            before = Before::default();
        } else {
            if let Some(uid) =
                before.pod.is_none().then(|| pod_uid(element)).flatten().filter(|_| before.kubepods)
            {
                found = Some((Owner::Container { runtime: Runtime::Sandbox, id: uid }, end));
                before.pod = Some(());
            }
            before.note(element);
        }
    }
    found
}

/// What the elements since the last container say about a bare id that may follow.
#[derive(Default)]
struct Before<'a> {
    kubepods: bool,
    pod: Option<()>,
    containerd: bool,
    last: Option<&'a str>,
}

impl<'a> Before<'a> {
    fn note(&mut self, element: &'a str) {
        self.kubepods |= element.starts_with("kubepods") || element.contains("-kubepods");
        self.containerd = matches!(element, "default" | "k8s.io" | "moby" | "nerdctl");
        self.last = Some(element);
    }
}

fn container<'a>(element: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    let name = element.strip_suffix(".scope").unwrap_or(element);
    prefixed(name).or_else(|| bare(name, before)).or_else(|| colons(name)).or_else(|| lxc(element, before))
}

fn prefixed(name: &str) -> Option<(Runtime, &str)> {
    PREFIXES.iter().find_map(|(prefix, runtime)| {
        let id = name.strip_prefix(prefix)?;
        is_id(id).then_some((*runtime, id))
    })
}

/// A bare id: containerd's own namespaces name it, Kubernetes leaves it open, everyone else is Docker.
fn bare<'a>(name: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    if !is_id(name) && !is_fargate_id(name) {
        return None;
    }
    let runtime = match before {
        Before { kubepods: true, .. } => Runtime::Kubepods,
        Before { containerd: true, .. } => Runtime::Containerd,
        _ => Runtime::Docker,
    };
    Some((runtime, name))
}

/// `<parent>:<prefix>:<id>`, which runtimes make of systemd's notation under the cgroupfs driver.
fn colons(name: &str) -> Option<(Runtime, &str)> {
    let (head, id) = name.rsplit_once(':')?;
    if !is_id(id) {
        return None;
    }
    let runtime = match head.rsplit(':').next()? {
        "cri-containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::Crio,
        "libpod" => Runtime::Podman,
        "docker" => Runtime::Docker,
        _ => return None,
    };
    Some((runtime, id))
}

fn lxc<'a>(element: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    let name = match before.last {
        Some("lxc" | "lxc.payload") => element,
        _ => element.strip_prefix("lxc.payload.")?,
    };
    (!name.is_empty()).then_some((Runtime::Lxc, name))
}

/// The uid of a pod: `pod<uid>` (cgroupfs) or `kubepods-burstable-pod<uid with underscores>.slice` (systemd).
fn pod_uid(element: &str) -> Option<Box<str>> {
    let name = element.strip_suffix(".slice").unwrap_or(element);
    let uid = match name.strip_prefix("pod") {
        Some(uid) => uid,
        None => &name[name.find("-pod")? + "-pod".len()..],
    };
    let is_uid = uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-' || b == b'_');
    is_uid.then(|| uid.replace('_', "-").into())
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_lower_hex)
}

/// Tasks of ECS on Fargate: 32 hexadecimal digits, a dash, decimal digits.
fn is_fargate_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && task.bytes().all(is_lower_hex)
            && number.len() >= 6
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}
