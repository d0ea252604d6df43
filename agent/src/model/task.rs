//! A process, as a pass over all tasks shows it.

use super::{BootNanos, Origin};

/// One process: its thread group leader's identity with the sums over its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it lives.
    pub origin: Origin,
    /// When it started; with the pid this tells processes apart for good.
    pub started: BootNanos,
    /// Time its threads were runnable but waited for a CPU; 0 also where the kernel does not count it.
    pub run_delay_ns: u64,
}
