//! What `/proc/<pid>` says about a process: its executable, its cgroups, and, where the kernel's task iterator cannot
//! be used, the list of all processes.

use std::fs;
use std::io;
use std::path::Path;

mod strings;

pub use strings::{sandbox_id, variables};

use crate::model::{CgroupId, HostPid, Origin, Task, Thread, UptimeNanos};

/// Where a process runs outside containers and services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// The last element of the executable's path.
    File(Box<str>),
    /// A thread of the kernel, which has no executable.
    Kernel,
    /// The process is gone, or closed to the agent.
    Unknown,
}

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// Finds the executable of a process.
pub fn executable(proc_root: &Path, pid: HostPid) -> Executable {
    let directory = proc_root.join(pid.0.to_string());
    if let Ok(target) = fs::read_link(directory.join("exe")) {
        let target = target.to_string_lossy();
        let name = base_name(&target);
        return if name.is_empty() { Executable::Unknown } else { Executable::File(name.into()) };
    }
    // Zombies have no link either: only the flag tells a thread of the kernel.
    match stat(&directory).as_deref().and_then(Stat::parse) {
        Some(stat) if stat.flags & PF_KTHREAD != 0 => Executable::Kernel,
        _ => Executable::Unknown,
    }
}

/// The last element of a path, or the first word of the name of an executable that lives in memory only, as runc's:
/// `/memfd:runc_cloned:/proc/self/exe`.
fn base_name(target: &str) -> &str {
    let path = target.strip_suffix(" (deleted)").unwrap_or(target);
    match path.strip_prefix("/memfd:") {
        Some(name) => name.split([':', '/']).next().unwrap_or_default(),
        None => path.rsplit('/').next().unwrap_or_default(),
    }
}

/// Paths of a process' cgroups, from `/proc/<pid>/cgroup`. They count from the root of the agent's own cgroup namespace:
/// each `/..` at the beginning leads one level above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupLines {
    /// In the v1 hierarchy of the memory controller.
    pub v1: Option<String>,
    /// In the unified hierarchy.
    pub v2: Option<String>,
}

/// Reads the cgroups of a process. A process that is gone has none.
pub fn cgroups(proc_root: &Path, pid: HostPid) -> CgroupLines {
    let path = proc_root.join(pid.0.to_string()).join("cgroup");
    // A directory's name may be any bytes.
    fs::read(path).map(|bytes| parse_cgroups(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
}

/// Lines are `<hierarchy>:<controllers>:<path>`.
pub(crate) fn parse_cgroups(text: &str) -> CgroupLines {
    let mut found = CgroupLines::default();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if hierarchy == "0" && controllers.is_empty() {
            found.v2 = Some(path.to_owned());
        } else if controllers.split(',').any(|controller| controller == "memory") {
            found.v1 = Some(path.to_owned());
        }
    }
    found
}

/// Lists all processes from `/proc`. `id_of` turns a path within a hierarchy into the cgroup's id.
///
/// # Errors
/// When the directory itself cannot be read; single processes that vanish meanwhile are left out.
pub fn walk(
    proc_root: &Path,
    mut id_of: impl FnMut(&CgroupLines) -> (CgroupId, CgroupId),
) -> io::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir(proc_root)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(HostPid) else {
            continue;
        };
        tasks.extend(read_task(proc_root, pid, &mut id_of));
    }
    Ok(tasks)
}

fn read_task(
    proc_root: &Path,
    pid: HostPid,
    id_of: &mut impl FnMut(&CgroupLines) -> (CgroupId, CgroupId),
) -> Option<Task> {
    let directory = proc_root.join(pid.0.to_string());
    let stat = stat(&directory)?;
    let stat = Stat::parse(&stat)?;
    let (v1, v2) = id_of(&cgroups(proc_root, pid));
    let started = UptimeNanos(stat.start_ticks.saturating_mul(1_000_000_000 / ticks_per_second()));
    let mut task = Task::new(Origin { pid, v2, v1, comm: stat.comm.into() }, started);
    task.thread_count = stat.threads;
    threads(&directory, |thread| task.add_thread(thread));
    Some(task)
}

/// The threads that are measured, as `/proc/<pid>/task/*/schedstat` tells: time run, time waited, slices.
fn threads(directory: &Path, take: impl FnMut(Thread)) {
    let measured = |thread: fs::DirEntry| -> Option<Thread> {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let run_delay_ns = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Thread::new(thread.file_name().to_str()?.parse().ok()?, run_delay_ns))
    };
    // A process that is gone has no such directory.
    let entries = fs::read_dir(directory.join("task"));
    entries.into_iter().flatten().flatten().filter_map(measured).for_each(take);
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// Whether a process is there that started so many nanoseconds after boot, suspended time included; of one whose start is
/// unknown (0), whether its number is in use. Numbers are used again: `pid_max` may be as low as 32,768.
pub fn is_alive(proc_root: &Path, pid: HostPid, started_ns: u64) -> bool {
    let Some(stat) = stat(&proc_root.join(pid.0.to_string())) else { return false };
    // The kernel rounds down as well (`nsec_to_clock_t`, kernel/time/time.c).
    let ticks = started_ns / (1_000_000_000 / ticks_per_second());
    started_ns == 0 || Stat::parse(&stat).is_some_and(|stat| stat.start_ticks == ticks)
}

/// The line of a process. Its name may be any bytes, as half a letter where the kernel has cut it.
fn stat(directory: &Path) -> Option<String> {
    let bytes = fs::read(directory.join("stat")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The few fields of `/proc/<pid>/stat` that are needed.
struct Stat<'a> {
    comm: &'a str,
    flags: u64,
    threads: u64,
    start_ticks: u64,
}

impl<'a> Stat<'a> {
    /// The name stands in parentheses and may itself contain them: the last one ends it.
    fn parse(text: &'a str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let comm = head.split_once('(')?.1;
        let mut fields = tail.split_ascii_whitespace();
        // After the name come state (field 3), … flags (9), … num_threads (20), … starttime (22).
        let flags = fields.nth(6)?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        let start_ticks = fields.nth(1)?.parse().ok()?;
        Some(Self { comm, flags, threads, start_ticks })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn process(root: &Path, pid: u32, comm: &str, flags: u64, exe: Option<&str>) {
        let directory = root.join(pid.to_string());
        fs::create_dir_all(directory.join(format!("task/{pid}"))).unwrap();
        let stat = format!("{pid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 250 0 0\n");
        fs::write(directory.join("stat"), stat).unwrap();
        fs::write(directory.join("cgroup"), "3:cpu:/x\n2:memory,hugetlb:/m\n0::/u:v\n").unwrap();
        fs::write(directory.join(format!("task/{pid}/schedstat")), "10 77 3\n").unwrap();
        if let Some(exe) = exe {
            symlink(exe, directory.join("exe")).unwrap();
        }
    }

    #[test]
    fn executables_are_named_by_their_last_element() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, "nginx", 0, Some("/usr/sbin/nginx"));
        process(root.path(), 11, "old", 0, Some("/opt/old (deleted)"));
        process(root.path(), 15, "runc:[2:INIT]", 0, Some("/memfd:runc_cloned:/proc/self/exe (deleted)"));
        process(root.path(), 12, "kworker/0:1", PF_KTHREAD, None);
        process(root.path(), 13, "zombie", 0, None);
        let found = [10, 11, 15, 12, 13, 14].map(|pid| executable(root.path(), HostPid(pid)));
        use Executable::*;
        assert_eq!(
            found,
            [File("nginx".into()), File("old".into()), File("runc_cloned".into()), Kernel, Unknown, Unknown]
        );
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, "x", 0, None);
        let tick = 1_000_000_000 / ticks_per_second();
        let at = |pid, ticks: u64| is_alive(root.path(), HostPid(pid), ticks * tick + tick / 2);
        assert_eq!([at(10, 250), at(10, 249), at(10, 251), at(11, 250)], [true, false, false, false]);
        assert!(is_alive(root.path(), HostPid(10), 0), "an unknown start is any");
        assert!(!is_alive(root.path(), HostPid(11), 0));
    }

    #[test]
    fn a_name_of_any_bytes_is_a_process() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, "x", 0, None);
        let stat = b"10 (\xd1\x81\xd0) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 250 0 0\n";
        fs::write(root.path().join("10/stat"), stat).unwrap();
        assert!(is_alive(root.path(), HostPid(10), 250 * (1_000_000_000 / ticks_per_second())));
        assert_eq!(walk(root.path(), |_| (CgroupId(0), CgroupId(0))).unwrap().len(), 1);
    }

    #[test]
    fn a_walk_lists_every_process() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, "a) (b", 0, None);
        fs::create_dir(root.path().join("sys")).unwrap();
        fs::create_dir(root.path().join("99")).unwrap();
        let tasks = walk(root.path(), |lines| {
            assert_eq!((lines.v1.as_deref(), lines.v2.as_deref()), (Some("/m"), Some("/u:v")));
            (CgroupId(1), CgroupId(2))
        });
        let origin = Origin { pid: HostPid(10), v1: CgroupId(1), v2: CgroupId(2), comm: "a) (b".into() };
        let mut expected = Task::new(origin, UptimeNanos(250 * 1_000_000_000 / ticks_per_second()));
        expected.thread_count = 1;
        expected.add_thread(Thread::new(10, 77));
        assert_eq!(tasks.unwrap(), [expected]);
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        assert_eq!(parse_cgroups("0::/../docker/x\n").v2.as_deref(), Some("/../docker/x"));
        assert_eq!(parse_cgroups("garbage\n1:name=systemd:/a\n"), CgroupLines::default());
    }

    #[test]
    fn the_live_machine_shows_this_process() {
        let pid = HostPid(std::process::id());
        let tasks = walk(Path::new("/proc"), |_| (CgroupId(0), CgroupId(0))).unwrap();
        let own = tasks.iter().find(|task| task.origin.pid == pid).expect("the test's own process");
        assert!(own.started.0 > 0);
        let Executable::File(name) = executable(Path::new("/proc"), pid) else { panic!("no executable") };
        assert!(name.starts_with("sonde_agent"), "{name}");
    }
}
