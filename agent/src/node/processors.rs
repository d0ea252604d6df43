//! What the CPUs and those who want them do: `/proc/stat`, `/proc/loadavg`, `/proc/pressure`, and the kernel's
//! other small counters.

use std::sync::Arc;

use procfs::{FromReadSI, KernelStats};

use super::number::{Number, integer};
use crate::registry::catalog::node;
use crate::registry::{Labels, Metric};

/// CPU time by mode since boot, CPUs that are online, tasks and switches. A mode that the kernel does not know is absent.
pub(super) fn stat(text: &str) -> Option<Vec<Number>> {
    let stat = KernelStats::from_read(text.as_bytes(), procfs::current_system_info()).ok()?;
    let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
    let time = stat.total;
    let modes = [
        ("user", Some(time.user)),
        ("nice", Some(time.nice)),
        ("system", Some(time.system)),
        ("idle", Some(time.idle)),
        ("iowait", time.iowait),
        ("irq", time.irq),
        ("softirq", time.softirq),
        ("steal", time.steal),
    ];
    let usage = &node::RESOURCES_CPU_USAGE_SECONDS_TOTAL;
    let modes = modes
        .into_iter()
        .filter_map(|(mode, value)| Some(Number::labelled(usage, ("mode", mode), value? as f64 / ticks)));
    let plain: [(&'static Metric, Option<f64>); 5] = [
        (&node::RESOURCES_CPU_LOGICAL_CORES, Some(stat.cpu_time.len() as f64)),
        (&node::CONTEXT_SWITCHES_TOTAL, Some(stat.ctxt as f64)),
        (&node::FORKS_TOTAL, Some(stat.processes as f64)),
        (&node::PROCS_RUNNING, stat.procs_running.map(f64::from)),
        (&node::PROCS_BLOCKED, stat.procs_blocked.map(f64::from)),
    ];
    let plain = plain.into_iter().filter_map(|(metric, value)| Some(Number::plain(metric, value?)));
    Some(modes.chain(plain).collect())
}

/// CPU times as counters: the kernel takes idle and iowait back now and then (proc(5)), and Prometheus would count all of
/// it anew.
#[derive(Debug, Default)]
pub(super) struct CpuTimes(Vec<(Arc<Labels>, f64)>);

impl CpuTimes {
    /// More than is ever taken back of one CPU, in seconds: it has gone, with its times.
    const LARGE: f64 = 3.0;

    /// Shows no less than before.
    pub(super) fn hold(&mut self, numbers: &mut [Number]) {
        let usage = &node::RESOURCES_CPU_USAGE_SECONDS_TOTAL;
        let is_cores = |number: &&Number| number.metric.name == node::RESOURCES_CPU_LOGICAL_CORES.name;
        let cores = numbers.iter().find(is_cores).map_or(1.0, |number| number.value);
        for number in numbers.iter_mut().filter(|number| number.metric.name == usage.name) {
            match self.0.iter_mut().find(|(mode, _)| *mode == number.own) {
                Some((_, shown)) if number.value < *shown && *shown - number.value < Self::LARGE * cores => {
                    number.value = *shown;
                }
                Some((_, shown)) => *shown = number.value,
                None => self.0.push((number.own.clone(), number.value)),
            }
        }
    }
}

/// Seconds since boot are the first word.
pub(super) fn uptime(text: &str) -> Option<Vec<Number>> {
    Some(vec![Number::plain(&node::UPTIME_SECONDS, decimal(text.split_ascii_whitespace().next()?)?)])
}

/// Averages over one, five and fifteen minutes are the first words.
pub(super) fn load(text: &str) -> Option<Vec<Number>> {
    let words: Vec<&str> = text.split_ascii_whitespace().take(3).collect();
    let &[one, five, fifteen] = words.as_slice() else { return None };
    let values = [(&node::LOAD1, one), (&node::LOAD5, five), (&node::LOAD15, fifteen)];
    values.into_iter().map(|(metric, text)| Some(Number::plain(metric, decimal(text)?))).collect()
}

/// Open files, files without a use (none since Linux 2.6), and the limit.
pub(super) fn open_files(text: &str) -> Option<Vec<Number>> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let &[open, _, limit] = words.as_slice() else { return None };
    let values = [(&node::FILEFD_ALLOCATED, open), (&node::FILEFD_MAXIMUM, limit)];
    values.into_iter().map(|(metric, text)| Some(Number::plain(metric, integer(text)?))).collect()
}

/// A file of pressure stall information: lines of `some` and `full` that end in the total, microseconds. There is no
/// `some` of interrupts; `full` of the CPUs is no measure for a whole machine, and the kernel shows zero there.
pub(super) fn pressure(metric: &'static Metric, kinds: &[&'static str], text: &str) -> Option<Vec<Number>> {
    let total = |kind: &&'static str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let micros = integer(line.rsplit_once("total=")?.1.trim())?;
        Some(Number::labelled(metric, ("kind", kind), micros / 1e6))
    };
    kinds.iter().map(total).collect()
}

fn decimal(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)
}
