//! The event loop: one task that owns the kernel half's maps and all tables, and makes snapshots when asked.
//!
//! Everybody else sends a [`Request`] or reads the [`Board`](crate::health::Board). The loop drains the ring by timer,
//! or at once when the kernel half says that it is half full, and never waits for a container runtime.

mod clock;
mod core;
mod datagrams;
mod files;
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
mod series;
mod suspects;
mod traffic;
mod unfiled;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub(crate) use self::clock::boot as now;
pub use self::core::{Core, Parts};
use self::hold::Hold;
use crate::kernel::Wakeups;
use crate::registry::{Snapshot, Source, SourceGone};
use crate::telemetry::QueueFill;

/// Time between two visits to the ring. A full ring holds 5,461 events of TCP, so this is good for 54,000 a second before
/// the wake-up at half full is needed at all.
const DRAIN_EVERY: Duration = Duration::from_millis(100);
/// Askers that may wait: the scrapes the server allows at a time, the push loop, and room for a few more.
const REQUESTS: usize = 16;

/// A question to the event loop.
struct Request {
    max_age: Duration,
    reply: oneshot::Sender<Arc<Snapshot>>,
}

/// Asks the event loop for snapshots.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

impl Source for Handle {
    async fn snapshot(&self, max_age: Duration) -> Result<Arc<Snapshot>, SourceGone> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { max_age, reply }).await.map_err(|_| SourceGone)?;
        answer.await.map_err(|_| SourceGone)
    }
}

/// The event loop, not yet running.
pub struct Observer {
    core: Core,
    requests: mpsc::Receiver<Request>,
    hold: Hold,
}

/// Makes a loop and the handle to it.
pub fn new(parts: Parts) -> (Observer, Handle) {
    let (sender, requests) = mpsc::channel(REQUESTS);
    let mut observer = Observer { core: Core::new(parts), requests, hold: Hold::new(Instant::now()) };
    observer.open_when_known();
    (observer, Handle { requests: sender })
}

impl Observer {
    /// Runs until `detach` is cancelled or nobody can ask any more. Dropping the loop detaches every program.
    pub async fn run(mut self, detach: CancellationToken) {
        let wakeups = self.core.wakeups();
        let mut drain = tokio::time::interval(DRAIN_EVERY);
        let mut sweep = tokio::time::interval(self.core.sweep_interval());
        drain.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = detach.cancelled() => break,
                () = half_full(wakeups.as_ref()) => self.core.drain(),
                request = self.requests.recv(), if self.hold.is_over() => match request {
                    Some(request) => self.answer(request),
                    None => break,
                },
                _ = drain.tick() => {
                    self.core.tick();
                    self.open_when_known();
                }
                _ = sweep.tick() => self.core.sweep(),
            }
        }
    }

    /// Lets snapshots be asked for once the labels of all series are known. Until then whoever asks waits, and the loop
    /// goes on.
    fn open_when_known(&mut self) {
        if self.hold.ends(self.core.knows_cloud(), Instant::now()) {
            self.core.open();
        }
    }

    fn answer(&mut self, request: Request) {
        let waiting = QueueFill { depth: self.requests.len(), capacity: self.requests.max_capacity() };
        let snapshot = self.core.snapshot(request.max_age, waiting);
        // Whoever asked may have gone meanwhile.
        let _ = request.reply.send(snapshot);
    }
}

/// Waits for the kernel half's wake-up.
async fn half_full(wakeups: Option<&Wakeups>) {
    match wakeups {
        Some(wakeups) if wakeups.half_full().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}
