//! Services in cgroup paths: systemd's and those of Talos; and what shares one name because it comes and goes.

use super::container::is_id;
use super::{Owner, elements, unescape};

/// The system service of a path as `/<outermost slice>/<unit>.service`, and the offset where the unit's element ends.
///
/// Inner slices are left out, so that an instance of a template keeps its own name:
/// `/system.slice/system-getty.slice/getty@tty1.service` is `/system.slice/getty@tty1.service`. Nothing below
/// `user.slice` is a system service.
pub(super) fn system_unit(path: &str) -> Option<(Owner, usize)> {
    let mut outermost = None;
    for (element, end) in elements(path) {
        match outermost {
            None if element.starts_with("user.slice") => return None,
            None if element.ends_with(".slice") => outermost = Some(element),
            None => {}
            Some(slice) if element.ends_with(".scope") => return build_scope(slice, element),
            Some(slice) => {
                if let Some(name) = element.strip_suffix(".service").filter(|name| !name.is_empty()) {
                    return service(slice, name, end);
                }
            }
        }
    }
    None
}

fn service(slice: &str, name: &str, end: usize) -> Option<(Owner, usize)> {
    let slice = unescape(slice);
    if is_transient(name) {
        return None;
    }
    if name.get(..64).is_some_and(is_id) {
        return Some((Owner::Group("/podman/healthcheck".into()), 0));
    }
    let name = unescape(name);
    match name.split_once('@') {
        Some((template, instance)) if is_connection(instance) => {
            Some((Owner::Group(format!("/{slice}/{template}@.service").into()), 0))
        }
        _ => Some((Owner::Service(format!("/{slice}/{name}.service").into()), end)),
    }
}

/// Names that `systemd-run` makes up: `run-u<number>`, `run-r<digits>`, `run-p<pid>-i<invocation>`. The executable
/// says more.
fn is_transient(name: &str) -> bool {
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.strip_prefix("run-").is_some_and(|rest| match rest.as_bytes().first() {
        Some(b'u' | b'r') => is_hex(&rest[1..]),
        Some(b'p') => rest[1..].split_once("-i").is_some_and(|(pid, rest)| is_hex(pid) && is_hex(rest)),
        _ => false,
    })
}

/// Instances that systemd makes up for a connection or a core dump: a running number, then numbers or addresses.
fn is_connection(instance: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_address = |part: &str| {
        part.contains(['.', ':'])
            && part.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':' | b'[' | b']' | b'%'))
    };
    let mut parts = instance.split('-');
    let is_counted = parts.next().is_some_and(is_number);
    let mut rest = parts.peekable();
    is_counted
        && rest.peek().is_some()
        && rest.all(|part| is_number(part) || is_address(part) || part == "unknown")
}

/// A step of an image build under the systemd driver: Docker's prefix with 25 digits and letters for an id.
fn build_scope(slice: &str, element: &str) -> Option<(Owner, usize)> {
    let id = element.strip_prefix("docker-")?.strip_suffix(".scope")?;
    let is_step = slice == "system.slice"
        && id.len() == 25
        && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    is_step.then(|| (Owner::Group("/docker/buildkit".into()), 0))
}

/// Steps of an image build under the cgroupfs driver, which all live below one cgroup.
pub(super) fn build_step(path: &str) -> Option<(Owner, usize)> {
    let mut elements = elements(path);
    let (owner, end) = match (elements.next()?, elements.next()) {
        (("docker", _), Some(("buildkit", end))) => ("/docker/buildkit", end),
        (("buildkit", end), _) => ("/containerd/buildkit", end),
        _ => return None,
    };
    Some((Owner::Group(owner.into()), end))
}

/// Services of Talos: its first process in `/init`, the rest below `/system` and `/podruntime`.
pub(super) fn talos(path: &str) -> Option<(Owner, usize)> {
    let mut elements = elements(path);
    let (first, end) = elements.next()?;
    let (name, end) = match (first, elements.next()) {
        ("init", None) => ("init", end),
        ("system" | "podruntime", second) => second?,
        _ => return None,
    };
    Some((Owner::Service(format!("/talos/{name}").into()), end))
}
