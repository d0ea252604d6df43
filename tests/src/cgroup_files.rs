//! What the kernel says of a process' own control groups, file by file, on cgroup v1, v2 and hybrid machines.
//!
//! Written here again, from the kernel's documentation of the files, so that the product is not its own judge.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Limits above this are v1's way to write that there is none.
const NO_LIMIT: f64 = (1_u64 << 62) as f64;

/// Series of a container without its `container_id`: the name, labels as in PromQL, and the value.
pub type Rows = BTreeMap<String, f64>;

/// The directories of the groups of one process, or of one path.
#[derive(Debug)]
pub struct GroupFiles {
    /// By controller that is in a v1 hierarchy; none where that has no group of this path.
    v1: BTreeMap<String, Option<PathBuf>>,
    unified: Option<PathBuf>,
}

impl GroupFiles {
    /// Those of a process that is running.
    #[track_caller]
    pub fn of(pid: &str) -> Self {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read the groups of a process");
        Self::in_paths(|controllers| {
            let line = groups
                .lines()
                .find_map(|line| line.split_once(':')?.1.strip_prefix(&format!("{controllers}:")));
            line.map(str::to_owned)
        })
    }

    /// Those of a path, in every hierarchy that has it.
    pub fn at(path: &str) -> Self {
        Self::in_paths(|_| Some(path.to_owned()))
    }

    /// `path` tells the path in a hierarchy, by its controllers as `/proc/<pid>/cgroup` writes them.
    fn in_paths(path: impl Fn(&str) -> Option<String>) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let below = |mount: PathBuf, controllers: &str| {
            let path = path(controllers)?;
            Some(mount.join(path.trim_start_matches('/'))).filter(|group| group.is_dir())
        };
        let mut v1 = BTreeMap::new();
        let own = fs::read_to_string("/proc/self/cgroup").expect("read the own groups");
        for line in own.lines() {
            let controllers = line.split(':').nth(1).expect("controllers");
            for controller in controllers.split(',') {
                let mounts = [root.join(controller), root.join(controllers)];
                if let Some(mount) = mounts.into_iter().find(|mount| mount.join("tasks").exists()) {
                    v1.insert(controller.to_owned(), below(mount, controllers));
                }
            }
        }
        let mounts = [root.to_owned(), root.join("unified")];
        let unified = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists());
        Self { v1, unified: unified.and_then(|mount| below(mount, "")) }
    }

    /// Its directory on the unified hierarchy.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Everything that the files say, as the series that show it.
    pub fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        self.cpu(&mut rows);
        self.memory(&mut rows);
        self.pids(&mut rows);
        self.pressure(&mut rows);
        rows
    }

    /// Where a controller has its files; nowhere if its hierarchy has no group of this path.
    fn directory(&self, controller: &str) -> Option<Directory> {
        match self.v1.get(controller) {
            Some(v1) => v1.clone().map(Directory::V1),
            None => self.unified.clone().map(Directory::V2),
        }
    }

    fn cpu(&self, rows: &mut Rows) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        // The unified hierarchy counts time of every group, with the controller or without.
        match self.directory("cpuacct").or_else(|| self.unified.clone().map(Directory::V2)) {
            None => {}
            Some(Directory::V1(at)) => {
                add(rows, "cpu_usage_seconds_total", number(&at, "cpuacct.usage").map(|nanos| nanos / 1e9));
                add(rows, "cpu_user_seconds_total", key(&at, "cpuacct.stat", "user").map(|it| it / ticks));
                add(
                    rows,
                    "cpu_system_seconds_total",
                    key(&at, "cpuacct.stat", "system").map(|it| it / ticks),
                );
            }
            Some(Directory::V2(at)) => {
                for mode in ["usage", "user", "system"] {
                    let micros = key(&at, "cpu.stat", &format!("{mode}_usec"));
                    add(rows, &format!("cpu_{mode}_seconds_total"), micros.map(|micros| micros / 1e6));
                }
            }
        }
        let (at, throttled, unit) = match self.directory("cpu") {
            None => return,
            Some(Directory::V1(at)) => (at, "throttled_time", 1e9),
            Some(Directory::V2(at)) => (at, "throttled_usec", 1e6),
        };
        add(rows, "cpu_periods_total", key(&at, "cpu.stat", "nr_periods"));
        add(rows, "cpu_throttled_periods_total", key(&at, "cpu.stat", "nr_throttled"));
        add(rows, "cpu_throttled_seconds_total", key(&at, "cpu.stat", throttled).map(|time| time / unit));
        let quota = number(&at, "cpu.cfs_quota_us").zip(number(&at, "cpu.cfs_period_us")).or_else(|| {
            let text = text(&at, "cpu.max")?;
            let (quota, period) = text.split_once(' ')?;
            Some((quota.parse().ok()?, period.trim().parse().ok()?))
        });
        let limit = quota.filter(|(quota, _)| *quota > 0.0).map(|(quota, period)| quota / period);
        add(rows, "cpu_limit_cores", limit);
    }

    fn memory(&self, rows: &mut Rows) {
        let (at, is_v1) = match self.directory("memory") {
            None => return,
            Some(Directory::V1(at)) => (at, true),
            Some(Directory::V2(at)) => (at, false),
        };
        let name = |v1: &'static str, v2: &'static str| if is_v1 { v1 } else { v2 };
        let stat = |v1, v2| key(&at, "memory.stat", name(v1, v2));
        let file = |v1, v2| number(&at, name(v1, v2));
        let below_none = |limit: Option<f64>| limit.filter(|limit| *limit < NO_LIMIT);
        let sum = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| one + other);
        add(
            rows,
            "memory_rss_bytes",
            sum(stat("total_rss", "anon"), stat("total_mapped_file", "file_mapped")),
        );
        add(rows, "memory_cache_bytes", stat("total_cache", "file"));
        let inactive = stat("total_inactive_file", "inactive_file").map(|bytes| -bytes);
        add(rows, "memory_working_set_bytes", sum(file("memory.usage_in_bytes", "memory.current"), inactive));
        add(rows, "memory_major_faults_total", stat("total_pgmajfault", "pgmajfault"));
        let limit = below_none(file("memory.limit_in_bytes", "memory.max"));
        add(rows, "memory_limit_bytes", limit);
        if is_v1 {
            let effective = below_none(stat("hierarchical_memory_limit", ""));
            add(rows, "memory_effective_limit_bytes", effective);
            add(rows, "memory_swap_bytes", stat("total_swap", ""));
            let both = below_none(number(&at, "memory.memsw.limit_in_bytes"));
            add(rows, "memory_swap_limit_bytes", both.zip(limit).map(|(both, limit)| both - limit));
            add(rows, "memory_events_total{event=\"max\"}", number(&at, "memory.failcnt"));
        } else {
            let root = at.ancestors().take_while(|group| group.join("memory.max").exists());
            let limits = root.filter_map(|group| number(group, "memory.max"));
            add(rows, "memory_effective_limit_bytes", limits.reduce(f64::min));
            add(rows, "memory_swap_bytes", number(&at, "memory.swap.current"));
            add(rows, "memory_swap_limit_bytes", number(&at, "memory.swap.max"));
            for event in ["high", "max", "oom"] {
                let count = key(&at, "memory.events", event);
                add(rows, &format!("memory_events_total{{event=\"{event}\"}}"), count);
            }
        }
    }

    fn pids(&self, rows: &mut Rows) {
        let Some(Directory::V1(at) | Directory::V2(at)) = self.directory("pids") else { return };
        add(rows, "tasks", number(&at, "pids.current"));
        add(rows, "tasks_limit", number(&at, "pids.max"));
    }

    fn pressure(&self, rows: &mut Rows) {
        let Some(at) = &self.unified else { return };
        for resource in ["cpu", "memory", "io"] {
            let Some(text) = text(at, &format!("{resource}.pressure")) else { continue };
            for line in text.lines() {
                let (kind, total) =
                    (line.split(' ').next().expect("a kind"), line.rsplit_once("total=").expect("a total").1);
                let seconds = total.parse::<f64>().expect("a number") / 1e6;
                let name = format!("{resource}_pressure_waiting_seconds_total{{kind=\"{kind}\"}}");
                add(rows, &name, Some(seconds));
            }
        }
    }
}

enum Directory {
    V1(PathBuf),
    V2(PathBuf),
}

fn add(rows: &mut Rows, name: &str, value: Option<f64>) {
    rows.extend(value.map(|value| (format!("container_resources_{name}"), value)));
}

fn text(at: &Path, file: &str) -> Option<String> {
    fs::read_to_string(at.join(file)).ok()
}

/// A file that is one number; `max` is none.
fn number(at: &Path, file: &str) -> Option<f64> {
    text(at, file)?.trim().parse().ok()
}

/// The value of a `key value` line.
fn key(at: &Path, file: &str, key: &str) -> Option<f64> {
    let text = text(at, file)?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}
