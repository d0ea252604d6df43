//! Where drivers put the library.

use std::path::{Path, PathBuf};

use super::Library;

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
        Library::Usual => {
            let root = crate::node::host_root(proc_root);
            let mut paths = DIRECTORIES.iter().map(|directory| root.join(directory).join(NAME));
            paths
                .find(|path| path.is_file())
                .ok_or_else(|| format!("no {NAME} of NVIDIA's driver on the host"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_below_the_hosts_root() {
        for directory in DIRECTORIES {
            let proc_root = tempfile::tempdir().unwrap();
            let host = proc_root.path().join("1/root").join(directory);
            std::fs::create_dir_all(&host).unwrap();
            assert!(find(&Library::Usual, proc_root.path()).is_err());
            std::fs::write(host.join(NAME), "").unwrap();
            assert_eq!(find(&Library::Usual, proc_root.path()), Ok(host.join(NAME)));
        }
        let absent = find(&Library::At("/no/such/file".into()), Path::new("/proc"));
        assert_eq!(absent, Err("/no/such/file is no file".to_owned()));
    }
}
