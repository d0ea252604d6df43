//! The event loop: one thread that owns the kernel half's maps and all tables, and makes snapshots when asked.
//!
//! Everybody else asks by a [`Handle`] or reads the [`Board`](crate::health::Board). The loop drains the ring by timer,
//! or at once when the kernel half says that it is half full, and never waits for a container runtime.

mod clock;
mod core;
mod datagrams;
mod files;
mod filling;
mod hold;
mod latency;
mod listening;
mod measured;
mod names;
mod namespaces;
mod optional;
mod overflows;
mod peers;
mod processes;
mod questions;
mod series;
mod suspects;
mod traffic;
mod unfiled;
mod visits;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub(crate) use self::clock::boot as now;
pub use self::core::{Core, Parts};
use self::filling::Filling;
pub use self::questions::Handle;
use self::questions::{Questions, Request};
use self::visits::Visits;

/// Time between two visits to the ring. A full ring holds 5,461 events of TCP, so this is good for 54,000 a second before
/// the wake-up at half full is needed at all.
const DRAIN_EVERY: Duration = Duration::from_millis(100);

/// The event loop, not yet running.
pub struct Observer {
    core: Core,
    questions: Questions,
    filling: Arc<Filling>,
    detach: CancellationToken,
}

/// Makes a loop that runs until `detach` is cancelled, and the handle to it. To be called in a runtime, which wakes the
/// loop.
pub fn new(parts: Parts, detach: CancellationToken) -> (Observer, Handle) {
    let (handle, waker, questions) = Questions::new(Instant::now());
    let filling = Arc::new(Filling::default());
    let (watching, wakeups, end) = (filling.clone(), parts.kernel.wakeups(), detach.clone());
    tokio::spawn(async move { watching.watch(wakeups, end, waker).await });
    let core = Core::new(parts, filling.clone());
    let mut observer = Observer { core, questions, filling, detach };
    observer.open_when_known();
    (observer, handle)
}

impl Observer {
    /// Runs until it is to detach, or nobody can ask or wake it any more. Dropping the loop detaches every program.
    pub fn run(mut self) {
        let (mut ticks, mut sweeps) = (Visits::every(DRAIN_EVERY), Visits::every(self.core.sweep_interval()));
        while !self.detach.is_cancelled() {
            if self.filling.is_seen() {
                self.core.drain();
            }
            if ticks.is_due(Instant::now()) {
                self.core.tick();
                self.open_when_known();
            }
            if sweeps.is_due(Instant::now()) {
                self.core.sweep();
            }
            match self.questions.next(ticks.wait().min(sweeps.wait())) {
                Ok(Some(request)) => self.answer(request),
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }

    /// Lets snapshots be asked for once the labels of all series are known. Until then whoever asks waits, and the loop
    /// goes on.
    fn open_when_known(&mut self) {
        if self.questions.open_when(self.core.knows_cloud(), Instant::now()) {
            self.core.open();
        }
    }

    fn answer(&mut self, request: Request) {
        let snapshot = self.core.snapshot(request.max_age, self.questions.fill());
        request.answer(snapshot);
    }
}
