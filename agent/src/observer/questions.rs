//! Questions to the event loop: who asks, who waits for a turn, and who waits until there is something to say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::hold::Hold;
use crate::registry::{Snapshot, Source, SourceGone};
use crate::telemetry::QueueFill;

/// Askers that may wait: the scrapes the server allows at a time, the push loop, and room for a few more.
const REQUESTS: usize = 16;

/// What reaches the event loop.
enum Message {
    Ask(Request),
    /// Something has changed that the loop looks at anyway.
    Wake,
}

/// A question.
pub(super) struct Request {
    pub(super) max_age: Duration,
    reply: oneshot::Sender<Arc<Snapshot>>,
    /// Returned with the answer.
    _turn: OwnedSemaphorePermit,
}

impl Request {
    /// Whoever asked may have gone meanwhile.
    pub(super) fn answer(self, snapshot: Arc<Snapshot>) {
        let _ = self.reply.send(snapshot);
    }
}

/// Asks the event loop for snapshots.
#[derive(Clone)]
pub struct Handle {
    messages: Sender<Message>,
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

/// Wakes the loop from its wait for questions.
pub(super) struct Waker(Sender<Message>);

impl Waker {
    /// Without a loop there is nobody to wake.
    pub(super) fn wake(&self) {
        let _ = self.0.send(Message::Wake);
    }
}

/// Nobody can ask or wake any more.
#[derive(Debug)]
pub(super) struct Unreachable;

/// The loop's end.
pub(super) struct Questions {
    messages: Receiver<Message>,
    turns: Arc<Semaphore>,
    hold: Hold,
    /// Questions that came during the hold.
    held: VecDeque<Request>,
}

impl Questions {
    /// The hold begins at `now`.
    pub(super) fn new(now: Instant) -> (Handle, Waker, Self) {
        // Without a bound of its own: who asks has a turn, and who wakes waits until the loop has looked.
        let (sender, messages) = mpsc::channel();
        // One whose answer is made, and those that wait.
        let turns = Arc::new(Semaphore::new(1 + REQUESTS));
        let handle = Handle { messages: sender.clone(), turns: turns.clone() };
        (handle, Waker(sender), Self { messages, turns, hold: Hold::new(now), held: VecDeque::new() })
    }

    /// Lets questions be answered once everything is known that was to be known first; tells when that begins just now.
    pub(super) fn open_when(&mut self, is_known: bool, now: Instant) -> bool {
        self.hold.ends(is_known, now)
    }

    /// The next question that is to be answered; `None` when something else is to be done, or after `wait`.
    pub(super) fn next(&mut self, wait: Duration) -> Result<Option<Request>, Unreachable> {
        let is_open = self.hold.is_over();
        if is_open && let Some(request) = self.held.pop_front() {
            return Ok(Some(request).filter(|request| !request.reply.is_closed()));
        }
        match self.messages.recv_timeout(wait) {
            Ok(Message::Ask(request)) if request.reply.is_closed() => Ok(None),
            Ok(Message::Ask(request)) if is_open => Ok(Some(request)),
            Ok(Message::Ask(request)) => {
                self.held.push_back(request);
                Ok(None)
            }
            Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Unreachable),
        }
    }

    /// Those that wait, without the one that is answered.
    pub(super) fn fill(&self) -> QueueFill {
        let asking = (1 + REQUESTS) - self.turns.available_permits();
        QueueFill { depth: asking.saturating_sub(1), capacity: REQUESTS }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;
    use crate::model::UnixMillis;
    use crate::registry::{Labels, SnapshotBuilder};

    const NEW: Duration = Duration::ZERO;
    const DEADLINE: Duration = Duration::from_secs(20);

    fn open() -> (Handle, Waker, Questions) {
        let (handle, waker, mut questions) = Questions::new(Instant::now());
        assert!(questions.open_when(true, Instant::now()));
        (handle, waker, questions)
    }

    fn ask(handle: &Handle) -> JoinHandle<Result<Arc<Snapshot>, SourceGone>> {
        let handle = handle.clone();
        tokio::spawn(async move { handle.snapshot(NEW).await })
    }

    /// The next question; the runtime makes its askers ask.
    async fn asked(questions: &mut Questions) -> Request {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(request) = questions.next(Duration::ZERO).unwrap() {
                return request;
            }
            assert!(Instant::now() < deadline, "nobody asks");
            tokio::task::yield_now().await;
        }
    }

    fn snapshot() -> Arc<Snapshot> {
        Arc::new(SnapshotBuilder::default().build(UnixMillis(0), Labels::empty()))
    }

    #[tokio::test]
    async fn whoever_asks_a_loop_that_is_gone_is_told() {
        let (handle, _waker, mut questions) = open();
        let waiting = ask(&handle);
        drop(asked(&mut questions).await);
        assert!(waiting.await.unwrap().is_err(), "the loop has thrown the question away");
        drop(questions);
        assert!(handle.snapshot(NEW).await.is_err());
    }

    #[tokio::test]
    async fn only_so_many_ask_and_the_others_wait_for_them() {
        let (handle, _waker, mut questions) = open();
        let askers: Vec<_> = (0..REQUESTS + 2).map(|_| ask(&handle)).collect();
        let mut requests = Vec::new();
        for _ in 0..=REQUESTS {
            requests.push(asked(&mut questions).await);
        }
        assert_eq!(questions.fill(), QueueFill { depth: REQUESTS, capacity: REQUESTS });
        tokio::task::yield_now().await;
        assert!(questions.next(Duration::ZERO).unwrap().is_none(), "one too many");
        requests.pop().unwrap().answer(snapshot());
        asked(&mut questions).await;
        drop(askers);
    }

    #[tokio::test]
    async fn questions_are_held_until_there_is_something_to_say() {
        let start = Instant::now();
        let (handle, waker, mut questions) = Questions::new(start);
        let (first, gone) = (ask(&handle), ask(&handle));
        while questions.held.len() < 2 {
            assert!(questions.next(Duration::ZERO).unwrap().is_none(), "nothing is known yet");
            assert!(start.elapsed() < DEADLINE, "nobody asks");
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert!(!questions.open_when(false, start) && questions.open_when(true, start));
        asked(&mut questions).await.answer(snapshot());
        assert!(first.await.unwrap().is_ok());
        assert!(questions.next(Duration::ZERO).unwrap().is_none(), "whoever has gone is not answered");
        assert_eq!(questions.turns.available_permits(), 1 + REQUESTS, "and has left his turn");
        drop((handle, waker));
        assert!(questions.next(Duration::ZERO).is_err());
    }
}
