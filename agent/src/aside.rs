//! Questions that may never be answered, put by a thread aside of whoever asks.
//!
//! `statfs` of a file system whose server is gone, a driver's attribute, or the memory of a process that is stuck may
//! hold up whoever reads it for ever. The questions of one round are put by a thread of their own. When it does not come
//! on, the question it stands at is left alone until the thread returns, and another thread puts the rest. An answer that
//! comes late is an answer still. Threads that hang are bounded, and so is a round, by whoever makes it. Nobody waits for
//! longer than it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::model::BootNanos;

/// How long one question may take.
const DEADLINE: u64 = 2_000_000_000;
/// Threads that may hang at a time, unless more are allowed; with so many, nothing is asked until one returns.
const MAX_HANGING: usize = 4;
/// Enough for a few calls and a path; the default would be 2 MiB of address space.
const STACK: usize = 128 * 1024;

/// Something that may be asked.
pub trait Question: Clone + Send + Sync + 'static {
    /// What is answered.
    type Answer: Send + 'static;

    /// Whether an answer to the other question would hang where this one hangs.
    fn is_about_the_same(&self, other: &Self) -> bool;
}

type Ask<Q> = dyn Fn(&Q) -> <Q as Question>::Answer + Send + Sync;

/// Asks, a round at a time.
pub struct Aside<Q: Question> {
    /// Of the threads.
    name: &'static str,
    ask: Arc<Ask<Q>>,
    max_hanging: usize,
    running: Option<Running<Q>>,
    hanging: Vec<Hanging<Q>>,
    hung: u64,
}

/// A thread at work.
struct Running<Q: Question> {
    questions: Arc<[Q]>,
    /// Index of the question it is at.
    at: Arc<AtomicUsize>,
    answers: Receiver<(usize, Q::Answer)>,
    /// Tells the thread to ask nothing more.
    abandoned: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// The index that was seen last, and since when.
    seen: (usize, BootNanos),
}

/// A thread that is left to itself until its question is answered.
struct Hanging<Q: Question> {
    question: Q,
    index: usize,
    answers: Receiver<(usize, Q::Answer)>,
    thread: JoinHandle<()>,
}

impl<Q: Question> std::fmt::Debug for Aside<Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hanging = self.hanging.len();
        f.debug_struct("Aside").field("name", &self.name).field("hanging", &hanging).finish_non_exhaustive()
    }
}

impl<Q: Question> Aside<Q> {
    /// Asks by `ask`, in threads called `name`.
    pub fn new(name: &'static str, ask: impl Fn(&Q) -> Q::Answer + Send + Sync + 'static) -> Self {
        let (running, hanging) = (None, Vec::new());
        Self { name, ask: Arc::new(ask), max_hanging: MAX_HANGING, running, hanging, hung: 0 }
    }

    /// Goes on asking while fewer than so many threads hang.
    pub fn hanging_up_to(self, max_hanging: usize) -> Self {
        Self { max_hanging, ..self }
    }

    /// Whether all that was asked is answered, or left alone.
    pub fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Puts questions, unless earlier ones are not answered yet. Those that hang, and all when too many do, are left out.
    pub fn start(&mut self, questions: Vec<Q>, now: BootNanos) {
        if self.running.is_none() {
            self.run(questions, now);
        }
    }

    /// Answers since the last call, those that came late included.
    pub fn answers(&mut self, now: BootNanos) -> Vec<(Q, Q::Answer)> {
        let mut answers = self.late_answers();
        let Some(running) = &mut self.running else { return answers };
        loop {
            match running.answers.try_recv() {
                Ok((index, answer)) => answers.push((running.questions[index].clone(), answer)),
                Err(TryRecvError::Disconnected) => {
                    self.running = None;
                    return answers;
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        let at = running.at.load(Ordering::Relaxed);
        if at != running.seen.0 {
            running.seen = (at, now);
        } else if now.since(running.seen.1) >= DEADLINE {
            self.leave(at, now);
        }
        answers
    }

    /// The same, but waits up to a moment for all answers that are still to come.
    pub fn answers_within(&mut self, moment: Duration, now: BootNanos) -> Vec<(Q, Q::Answer)> {
        let deadline = Instant::now() + moment;
        let mut answers = Vec::new();
        if let Some(running) = &self.running {
            let next =
                || running.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
            answers.extend(
                std::iter::from_fn(next).map(|(index, answer)| (running.questions[index].clone(), answer)),
            );
        }
        answers.extend(self.answers(now));
        answers
    }

    /// How often a question was not answered in time.
    pub fn hung(&self) -> u64 {
        self.hung
    }

    /// Questions that are not answered now.
    pub fn hanging(&self) -> impl Iterator<Item = &Q> {
        self.hanging.iter().map(|hanging| &hanging.question)
    }

    /// Whether a question is not put now: it hangs, or so many do that nothing is asked. Its last answer is not what would
    /// be answered now.
    pub fn leaves_out(&self, question: &Q) -> bool {
        self.hanging.len() >= self.max_hanging
            || self.hanging.iter().any(|hanging| hanging.question.is_about_the_same(question))
    }

    /// What those that hung have answered at last.
    fn late_answers(&mut self) -> Vec<(Q, Q::Answer)> {
        let over = self.hanging.extract_if(.., |hanging| hanging.thread.is_finished());
        let answer = |hanging: Hanging<Q>| {
            let (_, answer) = hanging.answers.try_iter().find(|(index, _)| *index == hanging.index)?;
            Some((hanging.question, answer))
        };
        over.filter_map(answer).collect()
    }

    /// Leaves the thread where it hangs, and goes on with what comes after.
    fn leave(&mut self, at: usize, now: BootNanos) {
        let Some(running) = self.running.take() else { return };
        let Some(question) = running.questions.get(at).cloned() else { return };
        self.hung += 1;
        running.abandoned.store(true, Ordering::Relaxed);
        let rest = running.questions[at + 1..].to_vec();
        let Running { answers, thread, .. } = running;
        self.hanging.push(Hanging { question, index: at, answers, thread });
        self.run(rest, now);
    }

    fn run(&mut self, mut questions: Vec<Q>, now: BootNanos) {
        questions.retain(|question| !self.leaves_out(question));
        if questions.is_empty() {
            return;
        }
        let questions: Arc<[Q]> = questions.into();
        let at = Arc::new(AtomicUsize::new(0));
        let abandoned = Arc::new(AtomicBool::new(false));
        let (sender, answers) = sync_channel(questions.len());
        let (ask, list, position, stop) =
            (self.ask.clone(), questions.clone(), at.clone(), abandoned.clone());
        let thread = thread::Builder::new().name(self.name.to_owned()).stack_size(STACK);
        // Without a thread there are no answers this time.
        if let Ok(thread) = thread.spawn(move || put(&*ask, &list, (&position, &stop), &sender)) {
            self.running = Some(Running { questions, at, answers, abandoned, thread, seen: (0, now) });
        }
    }
}

/// The thread. It ends when nobody waits for more answers.
fn put<Q: Question>(
    ask: &Ask<Q>,
    questions: &[Q],
    (at, abandoned): (&AtomicUsize, &AtomicBool),
    answers: &SyncSender<(usize, Q::Answer)>,
) {
    for (index, question) in questions.iter().enumerate() {
        at.store(index, Ordering::Relaxed);
        // Who left it at this question still waits for the answer, but not for another one.
        if answers.send((index, ask(question))).is_err() || abandoned.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
