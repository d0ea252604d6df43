use super::*;

fn question(workload: u32, mount_point: &str, minor: u32) -> Question {
    Question {
        workload: WorkloadIx(workload),
        process: HostPid(std::process::id()),
        mount_point: mount_point.into(),
        filesystem: Some(DeviceId { major: 8, minor }),
    }
}

#[test]
fn a_file_system_is_the_same_wherever_it_is_mounted() {
    use aside::Question as _;
    let numbered = question(1, "/a", 1);
    assert!(numbered.is_about_the_same(&question(2, "/b", 1)));
    assert!(!numbered.is_about_the_same(&question(1, "/a", 2)));
    let unknown = Question { filesystem: None, ..numbered.clone() };
    assert!(unknown.is_about_the_same(&numbered), "by its place");
    assert!(!unknown.is_about_the_same(&question(2, "/a", 1)), "in another container");
}

#[test]
fn the_room_of_a_real_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path: Arc<str> = directory.path().to_str().unwrap().into();
    let device = rustix::fs::stat(&*path).unwrap().st_dev;
    let device = DeviceId { major: rustix::fs::major(device), minor: rustix::fs::minor(device) };
    let question = Question { mount_point: path.clone(), filesystem: Some(device), ..question(1, "", 0) };
    let proc_root = Path::new("/proc");
    let stat = rustix::fs::statvfs(&*path).unwrap();
    let found = space(proc_root, &question).unwrap();
    assert_eq!(found.size_bytes, stat.f_blocks * stat.f_frsize);
    assert!(found.used_bytes > 0 && found.used_bytes + found.reserved_bytes <= found.size_bytes, "{found:?}");
    let other = Question { filesystem: Some(DeviceId { major: 1, minor: 1 }), ..question.clone() };
    assert!(space(proc_root, &other).unwrap_err().to_string().contains("another file system"));
    std::os::unix::fs::symlink("/", directory.path().join("link")).unwrap();
    let link = Question { mount_point: format!("{path}/link").into(), filesystem: None, ..question.clone() };
    assert!(space(proc_root, &link).is_err(), "links lead elsewhere");
    let gone = Question { process: HostPid(u32::MAX), ..question };
    assert!(space(proc_root, &gone).is_err());
}
