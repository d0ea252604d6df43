//! systemd units in cgroup paths.

use super::elements;

/// The system service of a path as `/<outermost slice>/<unit>.service`, and the offset where the unit's element ends.
///
/// Inner slices are left out, so that an instance of a template keeps its own name:
/// `/system.slice/system-getty.slice/getty@tty1.service` is `/system.slice/getty@tty1.service`. Nothing below
/// `user.slice` is a system service.
pub(super) fn system_service(path: &str) -> Option<(String, usize)> {
    let mut outermost = None;
    for (element, end) in elements(path) {
        match outermost {
            None if element.starts_with("user.slice") => return None,
            None if element.ends_with(".slice") => outermost = Some(element),
            None => {}
            Some(_) if element.ends_with(".scope") => return None,
            Some(slice) if element.len() > ".service".len() && element.ends_with(".service") => {
                return Some((format!("/{}/{}", unescape(slice), unescape(element)), end));
            }
            Some(_) => {}
        }
    }
    None
}

/// systemd writes a dash inside a name as `\x2d`, since a bare dash separates the levels of a slice.
fn unescape(name: &str) -> String {
    name.replace("\\x2d", "-")
}
