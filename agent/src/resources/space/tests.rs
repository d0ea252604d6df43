use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::*;

const SPACE: Space = Space { size_bytes: 3, used_bytes: 2, reserved_bytes: 1 };

/// A door that is opened for all at once.
#[derive(Default)]
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

fn question(workload: u32, mount_point: &str, minor: u32) -> Question {
    Question {
        workload: WorkloadIx(workload),
        process: HostPid(std::process::id()),
        mount_point: mount_point.into(),
        filesystem: Some(DeviceId { major: 8, minor }),
    }
}

/// Looks until there are so many answers; the surveyor's clock stands still.
fn wait(surveyor: &mut Surveyor, now: u64, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut found = Vec::new();
    while found.len() < count
        || count > 0 && surveyor.running.as_ref().is_some_and(|run| run.thread.is_finished())
    {
        assert!(Instant::now() < deadline, "{found:?} of {count} answers came");
        found.extend(
            surveyor.answers(BootNanos(now)).into_iter().map(|answer| answer.mount_point.to_string()),
        );
        thread::yield_now();
    }
    found
}

#[test]
fn a_file_system_that_hangs_is_left_alone_and_the_rest_is_asked() {
    let door = Arc::new(Door::default());
    let behind = door.clone();
    let mut surveyor = Surveyor::asking(move |question| {
        if question.mount_point.starts_with("/hangs") {
            behind.pass();
        }
        Ok(SPACE)
    });
    let questions = || {
        vec![
            question(1, "/a", 1),
            question(1, "/hangs", 2),
            question(2, "/hangs-too", 2),
            question(2, "/b", 3),
        ]
    };
    surveyor.start(questions(), BootNanos(0));
    assert_eq!(wait(&mut surveyor, 1, 1), ["/a"]);
    // The thread may stand before the next question still.
    while surveyor.running.as_ref().unwrap().at.load(Ordering::Relaxed) != 1 {
        thread::yield_now();
    }
    surveyor.answers(BootNanos(2));
    assert_eq!(surveyor.hung(), 0, "it may take its time");
    surveyor.answers(BootNanos(2 + DEADLINE));
    assert_eq!((surveyor.hung(), surveyor.hanging().collect::<Vec<_>>()), (1, vec!["/hangs"]));
    assert_eq!(wait(&mut surveyor, 3 + DEADLINE, 1), ["/b"], "the same file system is not asked elsewhere");
    while surveyor.running.is_some() {
        surveyor.answers(BootNanos(3 + DEADLINE));
    }
    surveyor.start(questions(), BootNanos(4 + DEADLINE));
    assert_eq!(wait(&mut surveyor, 5 + DEADLINE, 2), ["/a", "/b"]);
    door.open();
    while surveyor.hanging().next().is_some() || surveyor.running.is_some() {
        surveyor.answers(BootNanos(5 + DEADLINE));
    }
    surveyor.start(questions(), BootNanos(6 + DEADLINE));
    assert_eq!(wait(&mut surveyor, 7 + DEADLINE, 4), ["/a", "/hangs", "/hangs-too", "/b"]);
    assert_eq!(surveyor.hung(), 1);
}

#[test]
fn threads_that_hang_are_bounded() {
    let door = Arc::new(Door::default());
    let behind = door.clone();
    let mut surveyor = Surveyor::asking(move |_| {
        behind.pass();
        Ok(SPACE)
    });
    surveyor.start((0..20).map(|minor| question(1, "/x", minor)).collect(), BootNanos(0));
    for step in 1..10 {
        surveyor.answers(BootNanos(step * DEADLINE));
    }
    assert_eq!((surveyor.hung(), surveyor.hanging().count()), (MAX_HANGING as u64, MAX_HANGING));
    surveyor.start(vec![question(2, "/y", 99)], BootNanos(20 * DEADLINE));
    assert!(surveyor.running.is_none(), "nobody is left to ask");
    door.open();
}

#[test]
fn the_room_of_a_real_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path: Arc<str> = directory.path().to_str().unwrap().into();
    let device = rustix::fs::stat(&*path).unwrap().st_dev;
    let device = DeviceId { major: rustix::fs::major(device), minor: rustix::fs::minor(device) };
    let question = Question { mount_point: path.clone(), filesystem: Some(device), ..question(1, "", 0) };
    let proc_root = std::path::Path::new("/proc");
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
