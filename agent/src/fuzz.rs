//! Entry points for fuzzers: readers of what others name, as cgroups and containers, and of files of procfs. None may panic,
//! whatever it is given.

use std::path::Path;

use crate::enrich::cgroup_path::{self, Owner};
use crate::enrich::{naming, process};
use crate::model::UnixMillis;
use crate::resources::{self, CgroupMounts, DiskNames};

/// A path, as whoever may make a cgroup chose it. The answer for the owner's own path is the same owner.
pub fn fuzz_cgroup_path(bytes: &[u8]) {
    for path in String::from_utf8_lossy(bytes).lines() {
        let found = cgroup_path::classify(path);
        assert!(path.starts_with(found.own_path), "{path:?}");
        // The kernel marks a removed cgroup at the end of its path; in the middle of one it is part of a name.
        if !found.own_path.is_empty() && !path.contains(" (deleted)") {
            assert_eq!(cgroup_path::classify(found.own_path).owner, found.owner, "{path:?}");
        }
        if let Owner::Container { runtime, id } = &found.owner {
            assert!(id.len() <= path.len());
            assert!(naming::anonymous(*runtime, id).starts_with('/'));
        }
    }
}

/// `/proc/<pid>/cgroup`.
pub fn fuzz_cgroup_lines(bytes: &[u8]) {
    let lines = process::parse_cgroups(&String::from_utf8_lossy(bytes));
    for path in [lines.v1, lines.v2].into_iter().flatten() {
        fuzz_cgroup_path(path.as_bytes());
    }
}

/// `/proc/<pid>/mountinfo`.
pub fn fuzz_mountinfo(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = CgroupMounts::parse(&text).layout();
    let _ = resources::volumes(&text, &DiskNames::read(Path::new("/nonexistent")), |_, _| None);
    let _ = resources::kubelet_volumes(&text);
}

/// Names and labels of containers.
pub fn fuzz_names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let metadata = naming::metadata_of(text.lines());
    for runtime in cgroup_path::Runtime::ALL {
        if let Some(container_id) = naming::named(runtime, &metadata, Some(UnixMillis(1_767_225_600_000))) {
            assert!(container_id.starts_with('/'));
            let _ = naming::app_id(&container_id);
        }
    }
}

/// A DNS answer, as anybody may send it from port 53. The name is one of a host, and every address is there once.
pub fn fuzz_dns(bytes: &[u8]) {
    let Ok(answer) = crate::probes::dns::parse(bytes) else { return };
    assert!(!answer.name.is_empty() && answer.name.len() <= 253 && answer.name.is_ascii());
    assert!(answer.addresses.is_sorted_by(|one, next| one < next));
}
