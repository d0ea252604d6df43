//! Passes over everything on CPU time that nobody else wants.
//!
//! What a pass reads is as good a moment later, so whoever else wants the CPU goes first. Not for long: a busy node must
//! be seen as well, and the ring fills meanwhile.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::Pid;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::half_full;
use crate::kernel::Wakeups;
use crate::kernel::scheduling::{self, Policy};

/// How long a pass lets others go first; what is left of it then takes its fair share. A pass takes 50 ms on a full node.
const PATIENCE: Duration = Duration::from_millis(250);

/// The means to hurry a pass from outside of the thread that makes it.
pub(super) struct Leftover {
    runtime: Handle,
    wakeups: Arc<Option<Wakeups>>,
    patience: Duration,
}

impl Leftover {
    /// To be made in a runtime that goes on while a pass keeps its thread.
    ///
    /// # Errors
    ///
    /// As [`scheduling::may_change`]; passes then take their fair share.
    pub(super) fn new(wakeups: Option<Wakeups>) -> io::Result<Self> {
        scheduling::may_change()?;
        Ok(Self { runtime: Handle::current(), wakeups: Arc::new(wakeups), patience: PATIENCE })
    }

    /// From now on the calling thread lets others go first, until what is returned is dropped, for [`PATIENCE`], or until a
    /// ring is half full.
    pub(super) fn begin(&self) -> Option<Pass> {
        let thread = scheduling::this_thread();
        scheduling::set(thread, Policy::Idle).ok()?;
        let (wakeups, patience) = (self.wakeups.clone(), self.patience);
        let hurry = self.runtime.spawn(async move {
            let _ = tokio::time::timeout(patience, half_full(wakeups.as_ref().as_ref())).await;
            fair(thread);
        });
        Some(Pass { thread, hurry })
    }
}

/// A pass of the thread that began it.
pub(super) struct Pass {
    thread: Pid,
    hurry: JoinHandle<()>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.hurry.abort();
        fair(self.thread);
    }
}

/// It was possible before, and the thread is alive: it waits for the pass, or makes it.
fn fair(thread: Pid) {
    let _ = scheduling::set(thread, Policy::Fair);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The calling thread's policy, sched(7), as procfs tells it.
    fn policy() -> i64 {
        /// Field of `/proc/<pid>/stat` behind the name, proc_pid_stat(5).
        const POLICY: usize = 38;
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit(')').next().unwrap();
        fields.split_whitespace().nth(POLICY).unwrap().parse().unwrap()
    }
    const FAIR: i64 = 0;
    const IDLE: i64 = 5;

    fn leftover(wakeups: Option<Wakeups>, patience: Duration) -> Option<Leftover> {
        match Leftover::new(wakeups) {
            Ok(leftover) => Some(Leftover { patience, ..leftover }),
            Err(error) => {
                crate::skip::record(&format!("threads here cannot change their policy: {error}"));
                None
            }
        }
    }

    fn becomes_fair() {
        let deadline = Instant::now() + Duration::from_secs(20);
        while policy() != FAIR {
            assert!(Instant::now() < deadline, "nobody has hurried the pass");
            std::thread::yield_now();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_first_until_the_pass_ends() {
        let Some(leftover) = leftover(None, Duration::from_secs(3600)) else { return };
        tokio::task::spawn_blocking(move || {
            let pass = leftover.begin().unwrap();
            assert_eq!(policy(), IDLE);
            drop(pass);
            assert_eq!(policy(), FAIR);
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_pass_that_takes_long_gets_its_fair_share() {
        let Some(leftover) = leftover(None, Duration::from_millis(20)) else { return };
        tokio::task::spawn_blocking(move || {
            let _pass = leftover.begin().unwrap();
            becomes_fair();
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_ring_that_fills_hurries_the_pass() {
        let (mut ring, wakeups) = Wakeups::by_hand();
        let Some(leftover) = leftover(Some(wakeups), Duration::from_secs(3600)) else { return };
        tokio::task::spawn_blocking(move || {
            let _pass = leftover.begin().unwrap();
            assert_eq!(policy(), IDLE);
            ring.half_full();
            becomes_fair();
        })
        .await
        .unwrap();
    }
}
