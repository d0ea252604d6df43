//! A process, as a pass over all tasks shows it.

use super::{Origin, UptimeNanos};

/// One process: its thread group leader's identity, and its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it lives.
    pub origin: Origin,
    /// When it started; with the pid this tells processes apart for good.
    pub started: UptimeNanos,
    /// Threads whose waiting is measured, at most [`Task::MAX_THREADS`].
    pub threads: Vec<Thread>,
    /// Measured threads beyond that.
    pub threads_left_out: u64,
}

/// One thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id; the leader's is the process'.
    pub tid: u32,
    /// Time it was runnable but waited for a CPU, nanoseconds since its start.
    pub run_delay_ns: u64,
}

impl Task {
    /// More than any server starts; 256 KiB of one process.
    pub const MAX_THREADS: usize = 16_384;

    /// A process without threads yet.
    pub fn new(origin: Origin, started: UptimeNanos) -> Self {
        Self { origin, started, threads: Vec::new(), threads_left_out: 0 }
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
