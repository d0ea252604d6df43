//! Where drivers put the library.

use std::path::{Path, PathBuf};

use super::Library;
use crate::host_path;

/// Directories of distributions, of Google's and NVIDIA's installers for Kubernetes, of containers, of WSL.
const DIRECTORIES: [&str; 12] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "lib/x86_64-linux-gnu",
    "lib64",
    "usr/local/nvidia/lib64",
    "home/kubernetes/bin/nvidia/lib64",
    "run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "run/nvidia/driver/usr/lib/aarch64-linux-gnu",
    "run/nvidia/driver/usr/lib64",
    "usr/lib/wsl/lib",
];

const NAME: &str = "libnvidia-ml.so.1";

/// The library's path, as the agent reaches it.
///
/// # Errors
/// A sentence for `/status`.
pub(super) fn find(library: &Library, proc_root: &Path) -> Result<PathBuf, String> {
    match library {
        Library::Never => Err("turned off by gpu-library".to_owned()),
        Library::At(path) if path.is_file() => Ok(path.clone()),
        Library::At(path) => Err(format!("{} is no file", path.display())),
        Library::Usual => usual(&[crate::node::host_root(proc_root), PathBuf::from("/")])
            .ok_or_else(|| format!("no {NAME} of NVIDIA's driver on the host")),
    }
}

/// Below the host's root, or below the agent's own, where NVIDIA's container runtime mounts it.
fn usual(roots: &[PathBuf]) -> Option<PathBuf> {
    let names = DIRECTORIES.map(|directory| Path::new(directory).join(NAME));
    let mut found =
        roots.iter().flat_map(|root| names.iter().filter_map(|name| host_path::resolve(root, name)));
    found.find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_links_are_followed_on_the_host_and_the_agents_own_comes_last() {
        let (host, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let roots = [host.path().to_owned(), own.path().to_owned()];
        let place = |root: &Path, directory: &str| {
            std::fs::create_dir_all(root.join(directory)).unwrap();
            root.join(directory)
        };
        std::fs::write(place(own.path(), DIRECTORIES[0]).join(NAME), "").unwrap();
        assert_eq!(usual(&roots), Some(own.path().join(DIRECTORIES[0]).join(NAME)));
        let alternatives = place(host.path(), "etc/alternatives");
        let link = place(host.path(), DIRECTORIES[0]).join(NAME);
        std::os::unix::fs::symlink("/etc/alternatives/nvidia--ml", link).unwrap();
        std::os::unix::fs::symlink("/usr/lib/nvidia/ml", alternatives.join("nvidia--ml")).unwrap();
        std::fs::write(place(host.path(), "usr/lib/nvidia").join("ml"), "").unwrap();
        assert_eq!(usual(&roots), Some(host.path().join("usr/lib/nvidia/ml")));
    }

    #[test]
    fn the_library_is_found_below_the_hosts_root() {
        for directory in DIRECTORIES {
            let proc_root = tempfile::tempdir().unwrap();
            let host = proc_root.path().join("1/root").join(directory);
            std::fs::create_dir_all(&host).unwrap();
            assert_eq!(usual(&[proc_root.path().join("1/root")]), None);
            std::fs::write(host.join(NAME), "").unwrap();
            assert_eq!(find(&Library::Usual, proc_root.path()), Ok(host.join(NAME)));
        }
        let absent = find(&Library::At("/no/such/file".into()), Path::new("/proc"));
        assert_eq!(absent, Err("/no/such/file is no file".to_owned()));
    }
}
