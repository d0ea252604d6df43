//! Paths of the host, as the agent reaches them from a container.
//!
//! Below `/proc/1/root` the kernel takes an absolute link for one of the agent's own root: `/var/run/docker.sock`, with
//! `/var/run` linked to `/run`, would be looked for in the agent's container. Links are therefore followed here.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Links on the way to one file, as in path_resolution(7).
const MAX_LINKS: u32 = 40;

/// Where the file that the host calls `path` is below `root`, with no link on the way; `None` when there is none.
///
/// For paths that belong to the host's root: whoever may change them meanwhile may as well change the file.
pub fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut rest: Vec<OsString> = names(path);
    let (mut below, mut links) = (PathBuf::new(), 0);
    while let Some(name) = rest.pop() {
        if name == ".." {
            below.pop();
            continue;
        }
        let next = below.join(&name);
        let here = root.join(&next);
        if !fs::symlink_metadata(&here).ok()?.is_symlink() {
            below = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        let target = fs::read_link(&here).ok()?;
        if target.is_absolute() {
            below = PathBuf::new();
        }
        rest.extend(names(&target));
    }
    Some(root.join(below))
}

/// The parts of a path, the first at the end.
fn names(path: &Path) -> Vec<OsString> {
    let is_part = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    let parts = path.components().filter(is_part);
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_files_of_the_host_and_never_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let here = |path: &str| root.path().join(path);
        fs::create_dir_all(here("run/user")).unwrap();
        fs::create_dir_all(here("var/lib")).unwrap();
        fs::write(here("run/docker.sock"), "").unwrap();
        symlink("/run", here("var/run")).unwrap();
        symlink("../../run/docker.sock", here("var/lib/relative")).unwrap();
        symlink("/var/run/docker.sock", here("var/lib/twice")).unwrap();
        symlink("../../../../../../run/docker.sock", here("var/lib/above")).unwrap();
        symlink("loop", here("loop")).unwrap();
        symlink("/nowhere", here("dangling")).unwrap();
        let cases = [
            ("/run/docker.sock", Some("run/docker.sock")),
            ("/var/run/docker.sock", Some("run/docker.sock")),
            ("/var/lib/relative", Some("run/docker.sock")),
            ("/var/lib/twice", Some("run/docker.sock")),
            ("/var/lib/above", Some("run/docker.sock")),
            ("/../run/./user", Some("run/user")),
            ("/", Some("")),
            ("/loop", None),
            ("/dangling", None),
            ("/run/docker.sock/below", None),
            ("/run/none", None),
        ];
        for (path, expected) in cases {
            assert_eq!(resolve(root.path(), Path::new(path)), expected.map(here), "{path}");
        }
    }
}
