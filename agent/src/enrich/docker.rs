//! Asks the Docker daemon about containers, in a task of its own.
//!
//! The event loop only puts questions into a bounded queue and takes answers out of another one. A daemon that is
//! absent or hangs costs one log line and a state for `/status`; every question still gets its answer, an error, and is
//! asked again by [`Workloads`](super::Workloads) with growing pauses. Only unix sockets are spoken to. Without a socket
//! there is no daemon, as on a node with another runtime: nothing to be warned of.

mod metadata;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::metadata::{ContainerMetadata, ContainerRef, InspectError};
use crate::telemetry::QueueFill;

/// An answer: about whom, and what.
pub type Answer = (ContainerRef, Result<ContainerMetadata, InspectError>);

/// Questions and answers that may wait: more than a node starts containers in a second.
const QUEUE: usize = 256;
/// A healthy daemon answers in milliseconds; one under load in a second.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a daemon that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// What is known of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There was no container to ask about.
    #[default]
    Unused,
    /// The last question was answered.
    Connected,
    /// There is no socket at the last question, where it was looked for.
    Absent(String),
    /// The last question was not answered, and why.
    Unreachable(String),
}

/// The event loop's end: puts questions, takes answers.
#[derive(Debug)]
pub struct Inspector {
    questions: mpsc::Sender<ContainerRef>,
    answers: mpsc::Receiver<Answer>,
    status: Arc<Mutex<Status>>,
}

impl Inspector {
    /// Puts a question.
    ///
    /// # Errors
    /// Hands the container back when too many are waiting, or the task has ended.
    pub fn ask(&self, container: ContainerRef) -> Result<(), ContainerRef> {
        self.questions.try_send(container).map_err(|error| error.into_inner())
    }

    /// Waits for the next answer; `None` when the task has ended. Safe to cancel.
    pub async fn answer(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// Takes an answer if there is one.
    pub fn try_answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// What is known of the daemon.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Questions that wait, and how many may.
    pub fn fill(&self) -> QueueFill {
        let capacity = self.questions.max_capacity();
        QueueFill { depth: capacity - self.questions.capacity(), capacity }
    }
}

/// Starts the task that asks. It ends when the token is cancelled or the [`Inspector`] is dropped.
pub fn spawn(proc_root: &Path, shutdown: CancellationToken) -> (Inspector, JoinHandle<()>) {
    // The host's own, through process 1's root; else one that was mounted into the agent's container.
    let sockets = vec![proc_root.join("1/root/run/docker.sock"), PathBuf::from("/run/docker.sock")];
    spawn_with(sockets, TIMEOUT, shutdown)
}

fn spawn_with(
    sockets: Vec<PathBuf>,
    timeout: Duration,
    shutdown: CancellationToken,
) -> (Inspector, JoinHandle<()>) {
    let (questions, asked) = mpsc::channel(QUEUE);
    let (answered, answers) = mpsc::channel(QUEUE);
    let status = Arc::default();
    let client = Client { sockets, timeout, docker: None, paused_until: None, status: Arc::clone(&status) };
    let task = tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = run(client, asked, answered) => {}
        }
    });
    (Inspector { questions, answers, status }, task)
}

async fn run(mut client: Client, mut asked: mpsc::Receiver<ContainerRef>, answered: mpsc::Sender<Answer>) {
    while let Some(container) = asked.recv().await {
        let answer = client.inspect(&container.id).await;
        if answered.send((container, answer)).await.is_err() {
            return;
        }
    }
}

struct Client {
    sockets: Vec<PathBuf>,
    timeout: Duration,
    docker: Option<Docker>,
    paused_until: Option<Instant>,
    /// Written here, read by `/status`; held for a copy only.
    status: Arc<Mutex<Status>>,
}

impl Client {
    async fn inspect(&mut self, id: &str) -> Result<ContainerMetadata, InspectError> {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            match self.current() {
                Status::Unreachable(reason) => return Err(InspectError::Unreachable(reason)),
                Status::Absent(reason) => return Err(InspectError::Absent(reason)),
                Status::Unused | Status::Connected => {}
            }
        }
        let answer = match timeout(self.timeout, self.ask(id)).await {
            Ok(answer) => answer,
            Err(_) => Err(InspectError::Timeout),
        };
        match &answer {
            Err(InspectError::Absent(reason)) => self.lost(Status::Absent(reason.clone())),
            Err(error @ (InspectError::Unreachable(_) | InspectError::Timeout)) => {
                self.lost(Status::Unreachable(error.to_string()));
            }
            _ => self.set(Status::Connected),
        }
        answer
    }

    async fn ask(&mut self, id: &str) -> Result<ContainerMetadata, InspectError> {
        let docker = match &self.docker {
            Some(docker) => docker,
            None => self.docker.insert(connect(&self.sockets, self.timeout).await?),
        };
        let answer = docker.inspect_container(id, None).await.map_err(inspect_error)?;
        Ok(metadata::of(answer))
    }

    /// A daemon that comes back may be another version: everything starts anew.
    fn lost(&mut self, status: Status) {
        self.docker = None;
        self.paused_until = Some(Instant::now() + PAUSE);
        self.set(status);
    }

    fn current(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, status: Status) {
        let mut current = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*current, &status) {
            (Status::Unreachable(_), Status::Connected) => tracing::info!("docker daemon answers again"),
            (Status::Absent(_), Status::Connected) => tracing::info!("docker daemon answers"),
            (Status::Unused | Status::Connected | Status::Unreachable(_), Status::Absent(reason)) => {
                tracing::info!(reason, "no docker daemon: containers keep their ids for names");
            }
            (Status::Unused | Status::Connected | Status::Absent(_), Status::Unreachable(reason)) => {
                tracing::warn!(
                    reason,
                    "docker daemon does not answer: its containers keep their ids for names"
                );
            }
            _ => {}
        }
        *current = status;
    }
}

/// Connects to the first socket there is and agrees on a version: daemons refuse versions newer than theirs.
async fn connect(sockets: &[PathBuf], timeout: Duration) -> Result<Docker, InspectError> {
    let Some(socket) = sockets.iter().find(|socket| socket.exists()) else {
        let tried = sockets.iter().map(|socket| socket.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(InspectError::Absent(format!("no docker socket (tried {tried})")));
    };
    let docker = Docker::connect_with_unix(
        &socket.to_string_lossy(),
        timeout.as_secs().max(1),
        bollard::API_DEFAULT_VERSION,
    )
    .map_err(inspect_error)?;
    docker.negotiate_version().await.map_err(inspect_error)
}

fn inspect_error(error: bollard::errors::Error) -> InspectError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { status_code: 404, .. } => InspectError::NotFound,
        Error::DockerResponseServerError { status_code, message } => {
            InspectError::Malformed(format!("docker daemon answered {status_code}: {message}"))
        }
        Error::JsonDataError { message, .. } => InspectError::Malformed(message),
        Error::RequestTimeoutError => InspectError::Timeout,
        error => InspectError::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
