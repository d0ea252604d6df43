//! Why something is not measured.

use proptest::prelude::*;

use super::*;
use crate::health::Absent;

fn explained(mounts: &CgroupMounts, proc_root: &Path) -> Vec<(&'static str, String)> {
    let mut absent = Absent::default();
    explain(mounts, proc_root, &mut absent);
    absent.iter().map(|(metric, reason)| (metric, reason.to_owned())).collect()
}

fn reason<'r>(reasons: &'r [(&str, String)], metric: &str) -> Option<&'r str> {
    let metric = format!("container_resources_{metric}");
    reasons.iter().find(|(known, _)| *known == metric).map(|(_, reason)| reason.as_str())
}

#[test]
fn a_complete_machine_has_nothing_to_explain() {
    let files = [
        ("cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n"),
        ("cpu.pressure", "some total=0\n"),
        ("a.slice/cgroup.procs", ""),
        ("a.slice/memory.current", "1\n"),
        ("a.slice/memory.swap.current", "0\n"),
    ];
    let (root, mounts) = host(&[("cgroup2", "", "rw")], &files);
    assert_eq!(explained(&mounts, root.path()), []);
    let v1 = [
        ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("memory/memory.memsw.limit_in_bytes", "1\n"),
        ("blkio/blkio.throttle.io_serviced_recursive", "8:0 Read 1\nTotal 1\n"),
        ("unified/cpu.pressure", "some total=0\n"),
    ];
    let (root, mounts) = host(&[&V1[..], &[("cgroup2", "unified", "rw")]].concat(), &v1);
    write(&root.path().join("diskstats"), "8 0 sda 1 0 8 0 0 0 0 0 0 0 0\n");
    assert_eq!(explained(&mounts, root.path()), []);
}

#[test]
fn a_v1_machine_says_what_it_lacks() {
    let (root, mounts) = host(&V1, &[("blkio/blkio.throttle.io_serviced", "Total 0\n")]);
    write(&root.path().join("diskstats"), "8 0 sda 0 0 0 0 5 0 0 0 0 0 0\n");
    let reasons = explained(&mounts, root.path());
    let begins = |metric: &str, with: &str| {
        let reason = reason(&reasons, metric).unwrap_or_else(|| panic!("{metric} is not explained"));
        assert!(reason.starts_with(with), "{metric}: {reason}");
    };
    begins("cpu_pressure_waiting_seconds_total", "no cgroup2 hierarchy is mounted");
    begins("cpu_throttled_periods_total", "the kernel was built without CPU quotas");
    begins("memory_swap_bytes", "swap is not accounted");
    begins("disk_written_bytes_total", "blkio.throttle.* count nothing");
    assert_eq!(reason(&reasons, "memory_rss_bytes"), None);
    write(&root.path().join("diskstats"), "8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n");
    assert_eq!(
        reason(&explained(&mounts, root.path()), "disk_reads_total"),
        None,
        "nothing was there to count"
    );
}

#[test]
fn a_unified_machine_says_which_controllers_are_off() {
    let files = [
        ("cgroup.controllers", "cpu memory\n"),
        ("a.slice/cgroup.procs", ""),
        ("a.slice/memory.current", "1\n"),
    ];
    let (root, mounts) = host(&[("cgroup2", "", "rw")], &files);
    let reasons = explained(&mounts, root.path());
    assert!(reason(&reasons, "io_pressure_waiting_seconds_total").unwrap().contains("CONFIG_PSI"));
    assert!(reason(&reasons, "disk_reads_total").unwrap().contains("no io controller"));
    assert!(reason(&reasons, "tasks_limit").unwrap().contains("no pids controller"));
    assert!(reason(&reasons, "memory_swap_limit_bytes").unwrap().starts_with("swap is not accounted"));
    assert_eq!(reason(&reasons, "cpu_limit_cores"), None);
}

const FILES: [&str; 21] = [
    "cpu.stat",
    "cpu.max",
    "cpuacct.usage",
    "cpuacct.stat",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "memory.stat",
    "memory.current",
    "memory.usage_in_bytes",
    "memory.max",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.events",
    "memory.oom_control",
    "memory.failcnt",
    "pids.current",
    "pids.max",
    "io.stat",
    "io.pressure",
    "blkio.throttle.io_serviced",
    "blkio.throttle.io_service_bytes_recursive",
];
const WORDS: [&str; 16] = [
    "anon",
    "file_mapped",
    "total_rss",
    "usage_usec",
    "some",
    "total=",
    "8:0",
    "Read",
    "rios=",
    "oom_kill",
    "max",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "0",
    "0.5",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in the files, reading ends without a panic, and what has no number is absent.
    #[test]
    fn garbage_never_panics(
        texts in prop::collection::vec((0..FILES.len(), prop::collection::vec(any::<u8>(), 0..80)), 0..12),
        lines in prop::collection::vec((0..FILES.len(), prop::collection::vec((0..WORDS.len(), "[ \n=:]{0,2}"), 0..12)), 0..12),
    ) {
        let (root, v2) = host(&[("cgroup2", "", "rw")], &[]);
        let (other, v1) = host(&V1, &[]);
        for (name, bytes) in texts {
            let path = root.path().join("cgroup/docker/abc").join(FILES[name]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        for (name, words) in lines {
            let text: String = words.iter().map(|(word, gap)| format!("{}{gap}", WORDS[*word])).collect();
            write(&root.path().join("cgroup/docker/abc").join(FILES[name]), &text);
        }
        // The same files, once as the unified hierarchy and once as every v1 controller.
        for path in ["cpu,cpuacct", "memory", "blkio", "pids"] {
            let directory = other.path().join("cgroup").join(path).join("docker");
            fs::create_dir_all(&directory).unwrap();
            let _ = std::os::unix::fs::symlink(root.path().join("cgroup/docker/abc"), directory.join("abc"));
        }
        for mounts in [&v1, &v2] {
            let read = read(mounts, &paths());
            prop_assert!(read.cpu.usage_seconds.is_none_or(f64::is_finite));
            prop_assert!(read.disks.iter().all(|disk| disk.is_measured()));
        }
    }
}
