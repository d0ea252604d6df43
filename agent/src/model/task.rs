//! Processes and threads, as passes over all tasks and the ends of threads show them.

use super::{Origin, UptimeNanos};

/// One process: its thread group leader's identity, and its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it lives.
    pub origin: Origin,
    /// When it started; with the pid this tells processes apart for good.
    pub started: UptimeNanos,
    /// Threads there are.
    pub thread_count: u64,
    /// Threads whose waiting is measured, at most [`Task::MAX_THREADS`].
    pub threads: Vec<Thread>,
    /// Measured threads beyond that.
    pub threads_left_out: u64,
    /// Whether the kernel counts how long one of its threads waits for block devices.
    pub counts_disk_delay: bool,
}

/// One thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id; the leader's is the process'.
    pub tid: u32,
    /// What it waited since its start.
    pub waited: Waited,
    /// It has begun to end: its final counters are told as a [`ThreadExit`].
    pub is_exiting: bool,
}

/// Time that threads waited, nanoseconds. What is not measured is zero here; whether it is measured is told elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// Runnable, for a CPU.
    pub cpu_ns: u64,
    /// For block devices.
    pub disk_ns: u64,
}

impl Waited {
    /// What was waited beyond `before`. Of a counter that went back, as that of another thread under the same id, all.
    pub fn since(self, before: Self) -> Self {
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self { cpu_ns: since(self.cpu_ns, before.cpu_ns), disk_ns: since(self.disk_ns, before.disk_ns) }
    }

    /// Adds another time.
    pub fn add(&mut self, other: Self) {
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.disk_ns = self.disk_ns.saturating_add(other.disk_ns);
    }
}

/// A thread that a pass may have listed has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadExit {
    /// Its process.
    pub owner: Departed,
    /// Its id.
    pub tid: u32,
    /// What it had waited in all.
    pub waited: Waited,
}

/// A process that may be gone by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Where it lived; without a pid when it is too young to be known, and perhaps several ones of a name.
    pub origin: Origin,
    /// It was the kernel itself, unless the cgroups say otherwise.
    pub is_kernel: bool,
}

/// Threads of one owner that ended between two passes and were listed by none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortLived {
    /// Their process.
    pub owner: Departed,
    /// What they had waited in all.
    pub waited: Waited,
}

impl Task {
    /// More than any server starts; 512 KiB of one process.
    pub const MAX_THREADS: usize = 16_384;

    /// A process without threads yet.
    pub fn new(origin: Origin, started: UptimeNanos) -> Self {
        Self {
            origin,
            started,
            thread_count: 0,
            threads: Vec::new(),
            threads_left_out: 0,
            counts_disk_delay: false,
        }
    }

    /// Adds a thread that is measured. Passes list threads by their ids, so that those beyond the cap are always the
    /// same ones.
    pub fn add_thread(&mut self, thread: Thread) {
        if self.threads.len() < Self::MAX_THREADS {
            self.threads.push(thread);
        } else {
            self.threads_left_out += 1;
        }
    }
}

impl Thread {
    /// A thread of which only the waiting for a CPU is known.
    pub fn new(tid: u32, run_delay_ns: u64) -> Self {
        Self { tid, waited: Waited { cpu_ns: run_delay_ns, disk_ns: 0 }, is_exiting: false }
    }
}
