//! How large a file system is, asked by a thread that may hang.
//!
//! `statfs` of a file system whose server or device is gone may never return. The questions of one snapshot are put by a
//! thread of their own. When it does not come on, the file system it stands at is left alone until the thread returns,
//! and another thread puts the rest. Threads that hang are bounded.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::{io, thread};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::DeviceId;
use crate::model::{BootNanos, HostPid, WorkloadIx};

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub size_bytes: u64,
    /// Used.
    pub used_bytes: u64,
    /// Free, but for the superuser only.
    pub reserved_bytes: u64,
}

/// What is asked: a mount point as a process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose volume it is.
    pub workload: WorkloadIx,
    /// One of its processes.
    pub process: HostPid,
    /// Path inside the container.
    pub mount_point: Arc<str>,
    /// What must be found there, where the file system has a number of its own.
    pub filesystem: Option<DeviceId>,
}

/// What was found, or the reason why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose volume it is.
    pub workload: WorkloadIx,
    /// Path inside the container.
    pub mount_point: Arc<str>,
    /// Its room.
    pub space: Result<Space, String>,
}

/// How long one file system may take.
const DEADLINE: u64 = 2_000_000_000;
/// Threads that may hang at a time; with more, sizes are not asked for until one returns.
const MAX_HANGING: usize = 4;
/// Enough for two calls and a path; the default would be 2 MiB of address space.
const STACK: usize = 128 * 1024;

type Ask = dyn Fn(&Question) -> io::Result<Space> + Send + Sync;

/// Asks for the room of file systems.
pub struct Surveyor {
    ask: Arc<Ask>,
    running: Option<Running>,
    hanging: Vec<Hanging>,
    hung: u64,
}

/// A thread at work.
struct Running {
    questions: Arc<[Question]>,
    /// Index of the question it is at.
    at: Arc<AtomicUsize>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
    /// The index that was seen last, and since when.
    seen: (usize, BootNanos),
}

struct Hanging {
    question: Question,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Surveyor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surveyor").field("hanging", &self.hanging.len()).finish_non_exhaustive()
    }
}

impl Surveyor {
    /// Asks the file systems that processes below `proc_root` see.
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        let proc_root = proc_root.into();
        Self::asking(move |question| space(&proc_root, question))
    }

    fn asking(ask: impl Fn(&Question) -> io::Result<Space> + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask), running: None, hanging: Vec::new(), hung: 0 }
    }

    /// Puts questions, unless earlier ones are not answered yet.
    pub fn start(&mut self, questions: Vec<Question>, now: BootNanos) {
        if self.running.is_none() {
            self.run(questions, now);
        }
    }

    /// Answers since the last call. Never waits.
    pub fn answers(&mut self, now: BootNanos) -> Vec<Answer> {
        self.hanging.retain(|hanging| !hanging.thread.is_finished());
        let mut answers = Vec::new();
        let Some(running) = &mut self.running else { return answers };
        loop {
            match running.answers.try_recv() {
                Ok(answer) => answers.push(answer),
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
        } else if now.0.saturating_sub(running.seen.1.0) >= DEADLINE {
            self.leave(at, now);
        }
        answers
    }

    /// How often a file system did not answer in time.
    pub fn hung(&self) -> u64 {
        self.hung
    }

    /// Mount points that do not answer now.
    pub fn hanging(&self) -> impl Iterator<Item = &str> {
        self.hanging.iter().map(|hanging| &*hanging.question.mount_point)
    }

    /// Leaves the thread where it hangs, and goes on with what comes after.
    fn leave(&mut self, at: usize, now: BootNanos) {
        let Some(running) = self.running.take() else { return };
        let Some(question) = running.questions.get(at).cloned() else { return };
        self.hung += 1;
        self.hanging.push(Hanging { question, thread: running.thread });
        self.run(running.questions[at + 1..].to_vec(), now);
    }

    fn run(&mut self, mut questions: Vec<Question>, now: BootNanos) {
        questions.retain(|question| {
            !self.hanging.iter().any(|hanging| hanging.question.is_about_the_same(question))
        });
        if questions.is_empty() || self.hanging.len() >= MAX_HANGING {
            return;
        }
        let questions: Arc<[Question]> = questions.into();
        let at = Arc::new(AtomicUsize::new(0));
        let (sender, answers) = sync_channel(questions.len());
        let (ask, list, position) = (self.ask.clone(), questions.clone(), at.clone());
        let thread = thread::Builder::new().name("volumes".to_owned()).stack_size(STACK);
        // Without a thread there are no sizes this time.
        if let Ok(thread) = thread.spawn(move || put(&*ask, &list, &position, &sender)) {
            self.running = Some(Running { questions, at, answers, thread, seen: (0, now) });
        }
    }
}

impl Question {
    /// A file system that hangs, hangs wherever it is mounted.
    fn is_about_the_same(&self, other: &Self) -> bool {
        match (self.filesystem, other.filesystem) {
            (Some(own), Some(other)) => own == other,
            _ => (self.workload, &self.mount_point) == (other.workload, &other.mount_point),
        }
    }
}

/// The thread. It ends when nobody waits for its answers any more.
fn put(ask: &Ask, questions: &[Question], at: &AtomicUsize, answers: &SyncSender<Answer>) {
    for (index, question) in questions.iter().enumerate() {
        at.store(index, Ordering::Relaxed);
        let answer = Answer {
            workload: question.workload,
            mount_point: question.mount_point.clone(),
            space: ask(question).map_err(|error| error.to_string()),
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// Asks one file system. The path is resolved inside the container and without links, which a container could turn
/// elsewhere after its mounts were read.
fn space(proc_root: &std::path::Path, question: &Question) -> io::Result<Space> {
    let path_only = OFlags::PATH | OFlags::CLOEXEC;
    let root = proc_root.join(format!("{}/root", question.process.0));
    let root = rustix::fs::open(root, path_only | OFlags::DIRECTORY, Mode::empty())?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(&root, &*question.mount_point, path_only, Mode::empty(), inside)?;
    let device = rustix::fs::fstat(&file)?.st_dev;
    let found = DeviceId { major: rustix::fs::major(device), minor: rustix::fs::minor(device) };
    if question.filesystem.is_some_and(|expected| expected != found) {
        return Err(io::Error::other("another file system is mounted there by now"));
    }
    let stat = rustix::fs::fstatvfs(&file)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space {
        size_bytes: bytes(stat.f_blocks),
        used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        reserved_bytes: bytes(stat.f_bfree.saturating_sub(stat.f_bavail)),
    })
}

#[cfg(test)]
mod tests;
