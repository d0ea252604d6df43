//! Containers in cgroup paths.

use super::{Owner, Runtime, elements, machine, unescape};

/// What runtimes write before or around an id, and the runtime it stands for.
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

/// Monitor processes of runtimes: they run beside the container, on the host or in whatever the runtime runs in.
const MONITORS: [&str; 2] = ["crio-conmon-", "libpod-conmon-"];

/// The innermost container of a path, or nobody for its monitor on the host.
pub(super) struct Found {
    pub(super) owner: Owner,
    /// Where its own element ends.
    pub(super) end: usize,
    /// Containers around each other, this one included.
    pub(super) nesting: u8,
}

/// Finds the innermost container.
pub(super) fn innermost(path: &str) -> Option<Found> {
    let (mut found, mut around): (Option<Found>, Option<Found>) = (None, None);
    let mut before = Before::default();
    for (element, end) in elements(path) {
        if before.pod && MONITORS.iter().any(|monitor| element.starts_with(monitor)) {
            return Some(around.unwrap_or(Found { owner: Owner::Unmanaged, end: path.len(), nesting: 0 }));
        }
        if let Some((runtime, id)) = container(element, &before) {
            // A container takes the place of the pod that it is in.
            let outer = if before.pod { around.take() } else { found.take() };
            let owner = Owner::Container { runtime, id: unescape(id).into() };
            found = Some(Found { owner, end, nesting: nesting(&outer) });
            before = Before::default();
        } else if let Some(uid) = before.may_be_pod(element).then(|| pod_uid(element)).flatten() {
            around = found.take();
            let owner = Owner::Container { runtime: Runtime::Sandbox, id: uid };
            found = Some(Found { owner, end, nesting: nesting(&around) });
            before.pod = true;
            before.note(element);
        } else {
            before.note(element);
        }
    }
    found
}

fn nesting(outer: &Option<Found>) -> u8 {
    outer.as_ref().map_or(0, |outer| outer.nesting).saturating_add(1)
}

/// What the elements since the last container say about the one that follows.
#[derive(Default)]
pub(super) struct Before<'a> {
    kubepods: bool,
    pod: bool,
    podman: bool,
    nomad: bool,
    count: usize,
    pub(super) last: Option<&'a str>,
}

impl<'a> Before<'a> {
    fn note(&mut self, element: &'a str) {
        self.kubepods |= is_kubepods(element) || element == "kata_overhead";
        self.podman |= element == "libpod_parent";
        self.nomad |= matches!(element, "nomad" | "nomad.slice");
        self.count += 1;
        self.last = Some(element);
    }

    /// Whether an element may be a pod: below the node's pods, and not inside another one.
    fn may_be_pod(&self, element: &str) -> bool {
        !self.pod && (self.kubepods || is_kubepods(element))
    }

    /// Whether the element before is one of a containerd namespace's name.
    fn is_containerd(&self) -> bool {
        matches!(self.last, Some("default" | "k8s.io" | "moby" | "nerdctl"))
    }
}

/// The node's pods under every root and driver: `kubepods`, `kubepods.slice`, `kubelet-kubepods-burstable.slice` ...
fn is_kubepods(element: &str) -> bool {
    element.starts_with("kubepods") || element.contains("-kubepods")
}

fn container<'a>(element: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    let name = element.strip_suffix(".scope").unwrap_or(element);
    prefixed(name)
        .or_else(|| bare(name, before))
        .or_else(|| colons(name))
        .or_else(|| lxc(element, before))
        .or_else(|| nomad(name, before))
        .or_else(|| plain_containerd(element, before))
        .or_else(|| machine::machine(element, before))
}

fn prefixed(name: &str) -> Option<(Runtime, &str)> {
    PREFIXES.iter().find_map(|(prefix, runtime)| {
        let id = name.strip_prefix(prefix)?;
        is_id(id).then_some((*runtime, id))
    })
}

/// A bare id: containerd's own namespaces name it, Kubernetes leaves it open, below `libpod_parent` it is a pod of
/// Podman, everyone else is Docker.
fn bare<'a>(name: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    if before.podman || !(is_id(name) || is_fargate_id(name)) {
        return None;
    }
    let runtime = match before {
        Before { kubepods: true, .. } => Runtime::Kubepods,
        before if before.is_containerd() => Runtime::Containerd,
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

/// `lxc/<name>`, `lxc.payload/<name>` or `lxc.payload.<name>`, the last two also of Incus. The monitors of
/// `lxc.monitor` run on the host.
fn lxc<'a>(element: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    let name = match before.last {
        Some("lxc" | "lxc.payload") => element,
        _ => element.strip_prefix("lxc.payload.")?,
    };
    (!name.is_empty()).then_some((Runtime::Lxc, name))
}

/// `<allocation>.<task>`, or on older v1 clients only a UUID, somewhere below `nomad` or `nomad.slice`.
fn nomad<'a>(name: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    let allocation = name.split('.').next()?;
    (before.nomad && is_uuid(allocation)).then_some((Runtime::Nomad, name))
}

/// `/default/<name>`: containerd lets a container have any name, and puts it below its namespace.
fn plain_containerd<'a>(element: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    let is_unit = [".slice", ".scope", ".service"].iter().any(|suffix| element.ends_with(suffix));
    let is_below = before.count == 1 && before.last == Some("default");
    (is_below && !is_unit).then_some((Runtime::Containerd, element))
}

/// The uid of a pod: `pod<uid>` (cgroupfs) or `kubepods-burstable-pod<uid with underscores>.slice` (systemd). Pods of
/// files on the node have 32 digits for a uid.
fn pod_uid(element: &str) -> Option<Box<str>> {
    let name = element.strip_suffix(".slice").unwrap_or(element);
    let uid = match name.strip_prefix("pod") {
        Some(uid) => uid,
        None => &name[name.find("-pod")? + "-pod".len()..],
    };
    let is_uid = uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-' || b == b'_');
    is_uid.then(|| uid.replace('_', "-").into())
}

/// Whether a text is an id as most runtimes make them.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_lower_hex)
}

fn is_uuid(text: &str) -> bool {
    let is_part = |(part, length): (&str, usize)| part.len() == length && part.bytes().all(is_lower_hex);
    text.split('-').count() == 5 && text.split('-').zip([8, 4, 4, 4, 12]).all(is_part)
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
