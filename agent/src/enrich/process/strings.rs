//! Arguments and environment of a process: strings that end with a zero byte each, in a file that the process itself
//! may have filled with anything. Reads are bounded.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::enrich::cgroup_path::is_container_id;
use crate::model::HostPid;

/// What is read of either file: the kernel's default for a whole command line is 128 KiB, and what is looked for stands
/// at an end of a short one, or anywhere in the environment.
const MAX_BYTES: u64 = 256 * 1024;

/// The container's id behind a process of gVisor, the last argument of `runsc-sandbox` and `runsc-gofer`. `None` for every
/// other process.
pub fn sandbox_id(proc_root: &Path, pid: HostPid) -> Option<Arc<str>> {
    let arguments = strings(proc_root, pid, "cmdline");
    let program = arguments.first()?.rsplit('/').next()?;
    let id = arguments.last().filter(|_| program.starts_with("runsc"))?;
    is_container_id(id).then(|| id.as_str().into())
}

/// The environment of a process at its start, as `NAME=VALUE`; empty for one that is gone or closed to the agent.
pub fn variables(proc_root: &Path, pid: HostPid) -> Vec<String> {
    strings(proc_root, pid, "environ")
}

fn strings(proc_root: &Path, pid: HostPid, file: &str) -> Vec<String> {
    let path = proc_root.join(pid.0.to_string()).join(file);
    let mut bytes = Vec::new();
    // A process that ends while it is read leaves what was read.
    let _ = File::open(path).map(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    let strings = bytes.split(|byte| *byte == 0).filter(|string| !string.is_empty());
    strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "b06f44ca4949d516ffe575c59aa58e31dd6af170f369265dda1352ba37aaddbd";

    fn write(root: &Path, file: &str, text: &str) {
        fs::create_dir_all(root.join("7")).unwrap();
        fs::write(root.join("7").join(file), text).unwrap();
    }

    #[test]
    fn the_sandbox_is_the_last_argument_of_gvisors_process() {
        let root = tempfile::tempdir().unwrap();
        for (line, is_sandbox) in [
            (format!("runsc-sandbox\0--root=/run/runsc\0boot\0--bundle=/b\0{ID}\0"), true),
            (format!("/usr/local/bin/runsc-gofer\0gofer\0{ID}\0"), true),
            (format!("runsc-sandbox\0boot\0{ID}\0--late\0"), false),
            (format!("sleep\0{ID}\0"), false),
            ("runsc-sandbox\0".to_owned(), false),
            (String::new(), false),
        ] {
            write(root.path(), "cmdline", &line);
            assert_eq!(
                sandbox_id(root.path(), HostPid(7)).is_some_and(|id| &*id == ID),
                is_sandbox,
                "{line}"
            );
        }
        assert_eq!(sandbox_id(root.path(), HostPid(8)), None);
    }

    #[test]
    fn an_environment_of_any_size_is_read_so_far_only() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "environ", "A=1\0B=\0\0C=2=3\0");
        assert_eq!(variables(root.path(), HostPid(7)), ["A=1", "B=", "C=2=3"]);
        write(root.path(), "environ", &"x".repeat(MAX_BYTES as usize * 2));
        assert_eq!(variables(root.path(), HostPid(7))[0].len(), MAX_BYTES as usize);
        assert!(variables(root.path(), HostPid(8)).is_empty());
    }
}
