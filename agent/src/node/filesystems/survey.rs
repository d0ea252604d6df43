//! Asks file systems for their sizes without ever waiting for one that does not answer.
//!
//! A round of questions is a thread of its own: it asks one file system after the other and ends. Local file systems and
//! those over a network have rounds apart, and only local ones are waited for, a moment. A round that is stuck is left
//! to itself, and what it is stuck at is not asked again until it answers. The number of such threads is bounded; at the
//! bound nothing is asked over a network.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::{Mount, Usage};

/// How long a snapshot waits for local file systems: they answer within microseconds.
const MOMENT: Duration = Duration::from_millis(50);
/// A round that has not moved for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rounds that may be stuck at the same time; each is a sleeping thread.
const MAX_STUCK: usize = 4;
/// `statfs` needs next to no stack.
const STACK_BYTES: usize = 64 * 1024;

/// What is known of one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its last answer.
    Usage(Usage),
    /// It refused.
    Failed,
    /// It has not answered yet, or no longer does.
    Pending,
}

/// The last answers by mount point; `None` is a refusal.
type Known = HashMap<Box<str>, Option<Usage>>;

/// The rounds under way, and the answers of those before.
#[derive(Debug, Default)]
pub(super) struct Survey {
    local: Option<Round>,
    remote: Option<Round>,
    stuck: Vec<Round>,
    known: Known,
}

impl Survey {
    /// What each of `mounts`, whose paths begin at `root`, answers now or answered last.
    pub(super) fn ask(&mut self, mounts: &[Mount], root: &Path) -> Vec<Answer> {
        self.settle();
        let may_stick = self.stuck.len() < MAX_STUCK;
        self.known.retain(|path, _| {
            mounts.iter().any(|mount| mount.mount_point == *path && (may_stick || !mount.is_remote))
        });
        let of = |is_remote: bool| {
            let asked = mounts.iter().filter(move |mount| mount.is_remote == is_remote);
            asked
                .filter(|mount| !self.is_stuck(&mount.mount_point))
                .map(|mount| mount.mount_point.clone())
                .collect()
        };
        let (local, remote): (VecDeque<_>, VecDeque<_>) = (of(false), of(true));
        if self.local.is_none() {
            self.local = Round::begin(local, root);
        }
        if self.remote.is_none() && may_stick {
            self.remote = Round::begin(remote, root);
        }
        if let Some(round) = &mut self.local {
            round.wait(&mut self.known);
        }
        self.settle();
        let answer = |mount: &Mount| match self.known.get(&mount.mount_point) {
            _ if self.is_stuck(&mount.mount_point) => Answer::Pending,
            Some(Some(usage)) => Answer::Usage(*usage),
            Some(None) => Answer::Failed,
            None => Answer::Pending,
        };
        mounts.iter().map(answer).collect()
    }

    /// Takes the answers that are there, and puts a round that is stuck aside.
    fn settle(&mut self) {
        self.stuck.retain_mut(|round| round.take(&mut self.known));
        for current in [&mut self.local, &mut self.remote] {
            let goes_on = current.as_mut().is_some_and(|round| round.take(&mut self.known));
            let round = current.take().filter(|_| goes_on);
            match round {
                Some(round) if round.moved.elapsed() >= PATIENCE => self.stuck.push(round.abandon()),
                round => *current = round,
            }
        }
    }

    fn is_stuck(&self, path: &str) -> bool {
        self.stuck.iter().any(|round| round.left.front().is_some_and(|at| **at == *path))
    }
}

/// Questions under way.
#[derive(Debug)]
struct Round {
    /// What is still to be answered, in order.
    left: VecDeque<Box<str>>,
    answers: Receiver<Option<Usage>>,
    /// When it began or an answer last came.
    moved: Instant,
    /// Tells the thread to ask nothing more.
    abandoned: Arc<AtomicBool>,
}

impl Round {
    /// Starts a thread that asks `paths` below `root`; none when there is nothing to ask, or no thread.
    fn begin(left: VecDeque<Box<str>>, root: &Path) -> Option<Self> {
        if left.is_empty() {
            return None;
        }
        let paths: Vec<PathBuf> = left.iter().map(|path| root.join(path.trim_start_matches('/'))).collect();
        let (sender, answers) = channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let stop = abandoned.clone();
        let ask = move || {
            for path in paths {
                if stop.load(Ordering::Relaxed) || sender.send(usage(&path)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("statfs".to_owned()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(ask) {
            tracing::debug!(%error, "cannot start a thread to ask file systems");
            return None;
        }
        Some(Self { left, answers, moved: Instant::now(), abandoned })
    }

    /// Leaves it to itself: it keeps only the question that it is stuck at.
    fn abandon(mut self) -> Self {
        self.abandoned.store(true, Ordering::Relaxed);
        self.left.truncate(1);
        let mount_point = self.left.front().map(|path| &**path).unwrap_or_default();
        tracing::warn!(mount_point, "a file system does not answer; it has no series until it does");
        self
    }

    /// Waits a moment for all answers.
    fn wait(&mut self, known: &mut Known) {
        let deadline = Instant::now() + MOMENT;
        while !self.left.is_empty() {
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => self.keep(answer, known),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes the answers that are there. Returns whether more are to come.
    fn take(&mut self, known: &mut Known) -> bool {
        while !self.left.is_empty() {
            match self.answers.try_recv() {
                Ok(answer) => self.keep(answer, known),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        false
    }

    fn keep(&mut self, answer: Option<Usage>, known: &mut Known) {
        self.moved = Instant::now();
        if let Some(path) = self.left.pop_front() {
            known.insert(path, answer);
        }
    }
}

fn usage(path: &Path) -> Option<Usage> {
    let answer = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Some(Usage {
        size: bytes(answer.f_blocks),
        free: bytes(answer.f_bfree),
        available: bytes(answer.f_bavail),
        inodes: answer.f_files,
        inodes_free: answer.f_ffree,
    })
}
