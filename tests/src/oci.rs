//! Images made without any registry: busybox, the program `traffic` and the libraries it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;

const BUSYBOX: &str = "/bin/busybox";

/// Makes the root of the image's file system in `<directory>/image`.
#[track_caller]
pub fn root(traffic: &Path, directory: &Path) -> PathBuf {
    let root = directory.join("image");
    let bin = root.join("bin");
    fs::create_dir_all(&bin).expect("create the image's directory");
    fs::copy(BUSYBOX, bin.join("busybox")).expect("copy busybox");
    std::os::unix::fs::symlink("busybox", bin.join("sh")).expect("link sh");
    fs::copy(traffic, bin.join("traffic")).expect("copy traffic");
    for library in libraries(traffic) {
        let copy = root.join(library.strip_prefix("/").expect("ldd gives absolute paths"));
        fs::create_dir_all(copy.parent().expect("a library stands in a directory"))
            .expect("create a directory");
        fs::copy(&library, copy).expect("copy a library");
    }
    root
}

/// Packs the image as `docker save` does, named `image`; a container of it runs `traffic wait`.
#[track_caller]
pub fn archive(image: &str, traffic: &Path, directory: &Path) -> PathBuf {
    pack(&root(traffic, directory), &directory.join("layer.tar"), &["."]);
    let sum = run(Command::new("sha256sum").arg(directory.join("layer.tar")));
    let digest = format!("sha256:{}", sum.split(' ').next().expect("a digest"));
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": ["/bin/traffic"], "Cmd": ["wait"] },
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"] }
    ]);
    for (name, value) in [("config.json", config), ("manifest.json", manifest)] {
        fs::write(directory.join(name), value.to_string()).expect("write the image's description");
    }
    let archive = directory.join("image.tar");
    pack(directory, &archive, &["manifest.json", "config.json", "layer.tar"]);
    archive
}

/// Packs parts of a directory.
#[track_caller]
pub fn pack(directory: &Path, archive: &Path, parts: &[&str]) {
    run(Command::new("tar").arg("-C").arg(directory).arg("-cf").arg(archive).args(parts));
}

/// The shared libraries of a program and their loader, as `ldd` finds them; none for a static one.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("start ldd");
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = listing.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}
