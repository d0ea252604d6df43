//! What systemd says of its services: their type, and what starts them. Asked over D-Bus, in a task of its own.
//!
//! The event loop only puts questions into a bounded queue and takes answers out of another one; the task starts with the
//! first question, so a machine without services has none. It speaks to systemd itself, over its private socket, or to
//! the system bus. Each question has a second. A systemd that does not answer in time is left alone for growing pauses,
//! costs one log line and a state for `/status`, and its services go without these labels.

mod bus;
mod questions;
mod stream;
mod system;

use std::os::unix::fs::MetadataExt as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::model::WorkloadIx;
use crate::telemetry::QueueFill;
use bus::{Bus, Socket, Sockets};
pub(super) use questions::Questions;
pub(super) use system::is_system_service;

/// Questions and answers that may wait: as many services as a machine starts at once.
const QUEUE: usize = 256;
/// Time for one service: a connection, if there is none, and three calls. Coroot's time.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long a systemd that did not answer is left alone: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// A connection that nobody needed for so long is closed: on its private socket systemd tells everything that happens.
const IDLE: Duration = Duration::from_secs(5);
/// What is kept of a property: longer than any unit's name.
const MAX_TEXT: usize = 256;

/// A service about which systemd is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRef {
    /// The workload that waits for the answer.
    pub workload: WorkloadIx,
    /// Name of the unit as systemd writes it.
    pub unit: Arc<str>,
}

/// What systemd says of a service. Empty where it has nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitProperties {
    /// `simple`, `forking`, `oneshot`, `dbus` …
    pub kind: String,
    /// The unit that starts it: a timer, or else the first of them by name.
    pub triggered_by: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// systemd has no such unit, or nothing to say of it.
    #[error("no such unit")]
    Unknown,
    /// There is no systemd to ask.
    #[error("{0}")]
    Absent(String),
    /// systemd has an answer, but failed to find out. It may do better later.
    #[error("{0}")]
    Failed(String),
    /// systemd cannot be reached, or does not answer.
    #[error("{0}")]
    Unreachable(String),
}

/// An answer: about whom, and what.
pub type Answer = (UnitRef, Result<UnitProperties, UnitError>);

/// What is known of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There was no service to ask about.
    #[default]
    Unused,
    /// The last question was answered, over this socket.
    Connected(String),
    /// There is no socket at the last question, where it was looked for.
    Absent(String),
    /// The last question was not answered, and why.
    Unreachable(String),
}

/// The event loop's end: puts questions, takes answers.
#[derive(Debug)]
pub struct Asker {
    sockets: Sockets,
    timeout: Duration,
    shutdown: CancellationToken,
    /// Where the task runs, whoever puts the first question: the event loop has no runtime of its own.
    runtime: Handle,
    status: Arc<Mutex<Status>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    questions: mpsc::Sender<UnitRef>,
    answers: mpsc::Receiver<Answer>,
    _task: JoinHandle<()>,
}

impl Asker {
    /// Knows where systemd may listen; nothing runs yet. The task ends when the token is cancelled.
    pub fn new(proc_root: &Path, shutdown: CancellationToken) -> Self {
        // The host's own, through process 1's root; else one that was mounted into the agent's container.
        let mut roots = vec![proc_root.join("1/root"), PathBuf::from("/")];
        roots.dedup_by(|own, hosts| is_the_same(own, hosts));
        let private = roots.iter().map(|root| Socket::Private(root.join("run/systemd/private")));
        let bus = roots.iter().map(|root| Socket::Bus(root.join("run/dbus/system_bus_socket")));
        Self::with(private.chain(bus).collect(), TIMEOUT, shutdown)
    }

    fn with(sockets: Vec<Socket>, timeout: Duration, shutdown: CancellationToken) -> Self {
        Self {
            sockets: Sockets::new(sockets),
            timeout,
            shutdown,
            runtime: Handle::current(),
            status: Arc::default(),
            running: None,
        }
    }

    /// Puts a question.
    ///
    /// # Errors
    /// Hands the service back when too many are waiting, or the task has ended.
    pub fn ask(&mut self, unit: UnitRef) -> Result<(), UnitRef> {
        let running = self.running.get_or_insert_with(|| {
            let (questions, asked) = mpsc::channel(QUEUE);
            let (answered, answers) = mpsc::channel(QUEUE);
            let status = Arc::clone(&self.status);
            let client = Client::new(self.sockets.clone(), self.timeout, status);
            let shutdown = self.shutdown.clone();
            let task = self.runtime.spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = run(client, asked, answered) => {}
                }
            });
            Running { questions, answers, _task: task }
        });
        running.questions.try_send(unit).map_err(|error| error.into_inner())
    }

    /// Asks for nothing but a sign of life: about a unit that every systemd has.
    pub fn probe(&mut self) {
        let unit = UnitRef { workload: WorkloadIx(0), unit: "-.slice".into() };
        // An empty queue has room.
        let _ = self.ask(unit);
    }

    /// Takes an answer if there is one.
    pub fn try_answer(&mut self) -> Option<Answer> {
        self.running.as_mut()?.answers.try_recv().ok()
    }

    /// What is known of systemd.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Questions that wait, and how many may.
    pub fn fill(&self) -> QueueFill {
        let depth = self.running.as_ref().map_or(0, |running| QUEUE - running.questions.capacity());
        QueueFill { depth, capacity: QUEUE }
    }
}

async fn run(mut client: Client, mut asked: mpsc::Receiver<UnitRef>, answered: mpsc::Sender<Answer>) {
    loop {
        let patience = if client.bus.is_some() { IDLE } else { Duration::MAX };
        let unit = match timeout(patience, asked.recv()).await {
            Ok(Some(unit)) => unit,
            Ok(None) => return,
            Err(_) => {
                client.bus = None;
                continue;
            }
        };
        let answer = survive(client.properties(&unit.unit)).await;
        if answered.send((unit, answer)).await.is_err() {
            return;
        }
    }
}

/// Each question is answered, also where words of the other side make the library panic.
async fn survive<T>(question: impl Future<Output = Result<T, UnitError>>) -> Result<T, UnitError> {
    let answer = AssertUnwindSafe(question).catch_unwind().await;
    answer.unwrap_or_else(|_| Err(UnitError::Unreachable("the answer made the client panic".to_owned())))
}

/// Whether two paths lead to one directory.
fn is_the_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|data| (data.dev(), data.ino())).ok();
    id(one).is_some_and(|one| id(other) == Some(one))
}

struct Client {
    sockets: Sockets,
    timeout: Duration,
    bus: Option<Bus>,
    pause: Duration,
    paused_until: Option<Instant>,
    /// Written here, read by `/status`; held for a copy only.
    status: Arc<Mutex<Status>>,
}

impl Client {
    fn new(sockets: Sockets, timeout: Duration, status: Arc<Mutex<Status>>) -> Self {
        Self { sockets, timeout, bus: None, pause: PAUSE.0, paused_until: None, status }
    }

    async fn properties(&mut self, unit: &str) -> Result<UnitProperties, UnitError> {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(match status {
                Status::Absent(reason) => UnitError::Absent(reason),
                Status::Unreachable(reason) => UnitError::Unreachable(reason),
                Status::Unused | Status::Connected(_) => UnitError::Unreachable("not asked again yet".into()),
            });
        }
        let answer = timeout(self.timeout, self.ask(unit)).await;
        let socket = self.sockets.current().map_or_else(String::new, ToString::to_string);
        // Where all have refused, every one has had its turn.
        let has_failed = self.bus.is_some() || answer.is_err();
        let answer = answer.unwrap_or_else(|_| {
            Err(UnitError::Unreachable(format!("no answer from {socket} in {:?}", self.timeout)))
        });
        match &answer {
            Ok(_) | Err(UnitError::Unknown | UnitError::Failed(_)) => {
                self.pause = PAUSE.0;
                self.set(Status::Connected(socket));
            }
            Err(UnitError::Absent(reason)) => self.lost(Status::Absent(reason.clone())),
            Err(UnitError::Unreachable(reason)) => {
                if has_failed {
                    self.sockets.turn();
                }
                self.lost(Status::Unreachable(reason.clone()));
            }
        }
        answer
    }

    async fn ask(&mut self, unit: &str) -> Result<UnitProperties, UnitError> {
        self.bus.take_if(|bus| bus.is_closed());
        let bus = match &self.bus {
            Some(bus) => bus,
            None => self.bus.insert(Bus::connect(&mut self.sockets).await?),
        };
        bus.properties(unit).await
    }

    fn lost(&mut self, status: Status) {
        self.bus = None;
        self.paused_until = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
        self.set(status);
    }

    fn set(&self, status: Status) {
        let mut current = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*current, &status) {
            (Status::Connected(_) | Status::Unused, Status::Connected(_)) => {}
            (_, Status::Connected(socket)) => tracing::info!(socket, "systemd answers"),
            (Status::Absent(_), Status::Absent(_)) | (Status::Unreachable(_), Status::Unreachable(_)) => {}
            (_, Status::Absent(reason)) => {
                tracing::info!(reason, "no systemd to ask: services go without their type");
            }
            (_, Status::Unreachable(reason)) => {
                tracing::warn!(reason, "systemd does not answer: services go without their type");
            }
            (_, Status::Unused) => {}
        }
        *current = status;
    }
}

#[cfg(test)]
mod tests;
