//! The event loop: one thread that owns the kernel half's maps and all tables, and makes snapshots when asked.
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
mod visits;
mod watchdog;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::clock::boot as now;
pub use self::core::{Core, Parts};
use self::hold::Hold;
use self::visits::Visits;
use crate::kernel::Wakeups;
use crate::registry::{Snapshot, Source, SourceGone};
use crate::telemetry::QueueFill;

/// Time between two visits to the ring. A full ring holds 5,461 events of TCP, so this is good for 54,000 a second before
/// the wake-up at half full is needed at all.
const DRAIN_EVERY: Duration = Duration::from_millis(100);
/// Askers that may wait: the scrapes the server allows at a time, the push loop, and room for a few more.
const REQUESTS: usize = 16;

/// What reaches the event loop.
enum Message {
    Ask(Request),
    /// Something has changed that the loop looks at anyway.
    Wake,
}

/// A question to the event loop.
struct Request {
    max_age: Duration,
    reply: oneshot::Sender<Arc<Snapshot>>,
    /// Returned with the answer.
    _turn: OwnedSemaphorePermit,
}

/// Asks the event loop for snapshots.
#[derive(Clone)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
    turns: Arc<Semaphore>,
}

impl Source for Handle {
    async fn snapshot(&self, max_age: Duration) -> Result<Arc<Snapshot>, SourceGone> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| SourceGone)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { max_age, reply, _turn: turn };
        self.messages.send(Message::Ask(request)).map_err(|_| SourceGone)?;
        answer.await.map_err(|_| SourceGone)
    }
}

/// The event loop, not yet running.
pub struct Observer {
    core: Core,
    messages: mpsc::Receiver<Message>,
    turns: Arc<Semaphore>,
    hold: Hold,
    /// Questions that came during the hold.
    held: Vec<Request>,
    /// Whether a ring is half full.
    filling: Arc<AtomicBool>,
    detach: CancellationToken,
}

/// Makes a loop that runs until `detach` is cancelled, and the handle to it. To be called in a runtime, which wakes the
/// loop.
pub fn new(parts: Parts, detach: CancellationToken) -> (Observer, Handle) {
    let (handle, messages) = channel();
    let (core, filling) = (Core::new(parts), Arc::<AtomicBool>::default());
    let half_full = Filling { wakeups: core.wakeups(), seen: filling.clone() };
    tokio::spawn(wake(half_full, detach.clone(), handle.messages.clone()));
    let (turns, hold) = (handle.turns.clone(), Hold::new(Instant::now()));
    let mut observer = Observer { core, messages, turns, hold, held: Vec::new(), filling, detach };
    observer.open_when_known();
    (observer, handle)
}

/// The asking end of a loop, and what the loop receives from.
fn channel() -> (Handle, mpsc::Receiver<Message>) {
    // Its bound are the turns of those who ask; whoever wakes the loop puts one message at a time.
    let (messages, receiver) = mpsc::channel();
    // One whose answer is made, and those that wait.
    let turns = Arc::new(Semaphore::new(1 + REQUESTS));
    (Handle { messages, turns }, receiver)
}

impl Observer {
    /// Runs until it is to detach. Dropping the loop detaches every program.
    pub fn run(mut self) {
        let (mut ticks, mut sweeps) = (Visits::every(DRAIN_EVERY), Visits::every(self.core.sweep_interval()));
        while !self.detach.is_cancelled() {
            if self.filling.swap(false, Ordering::Relaxed) {
                self.core.drain();
            }
            if ticks.is_due(Instant::now()) {
                self.core.tick();
                self.open_when_known();
            }
            if sweeps.is_due(Instant::now()) {
                self.core.sweep();
            }
            match self.messages.recv_timeout(ticks.wait().min(sweeps.wait())) {
                Ok(Message::Ask(request)) if self.hold.is_over() => self.answer(request),
                Ok(Message::Ask(request)) => self.held.push(request),
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                // Nobody can ask, and nobody tells when to end.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Lets snapshots be asked for once the labels of all series are known. Until then whoever asks waits, and the loop
    /// goes on.
    fn open_when_known(&mut self) {
        if self.hold.ends(self.core.knows_cloud(), Instant::now()) {
            self.core.open();
            std::mem::take(&mut self.held).into_iter().for_each(|request| self.answer(request));
        }
    }

    fn answer(&mut self, request: Request) {
        if request.reply.is_closed() {
            return;
        }
        let waiting =
            QueueFill { depth: REQUESTS - self.turns.available_permits().min(REQUESTS), capacity: REQUESTS };
        let snapshot = self.core.snapshot(request.max_age, waiting);
        // Whoever asked may have gone meanwhile.
        let _ = request.reply.send(snapshot);
    }
}

/// What tells that a ring fills, and where that is noted.
struct Filling {
    wakeups: Option<Wakeups>,
    seen: Arc<AtomicBool>,
}

/// Wakes the loop when a ring is half full, and for its end.
async fn wake(filling: Filling, detach: CancellationToken, messages: mpsc::Sender<Message>) {
    let wake = || messages.send(Message::Wake).is_ok();
    loop {
        tokio::select! {
            () = detach.cancelled() => {
                wake();
                return;
            }
            // One message is enough until the loop has looked.
            () = half_full(filling.wakeups.as_ref()) => {
                if !filling.seen.swap(true, Ordering::Relaxed) && !wake() {
                    return;
                }
            }
        }
    }
}

/// Waits for the kernel half's wake-up.
async fn half_full(wakeups: Option<&Wakeups>) {
    match wakeups {
        Some(wakeups) if wakeups.half_full().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
