//! Pods of this node as Kubernetes describes them: labels and owners. Only when a kubelet or an API server is named.
//!
//! A task of its own asks for the list every half minute, or after growing pauses while nobody answers, and hands the
//! event loop the latest one. The list is bounded in bytes and pods, and only the configured labels are kept of it. A
//! token is read anew for every question, since Kubernetes replaces it, and shows neither in logs nor in `/status`.

mod client;
mod pods;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use client::Client;
pub use pods::{Pod, PodLabel, Pods};

/// Time between two lists, as long as pods take to start.
const EVERY: Duration = Duration::from_secs(30);
/// The longest pause while nobody answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whom to ask, and what to keep.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom.
    pub endpoint: Endpoint,
    /// File with a bearer token.
    pub token: Option<PathBuf>,
    /// Authorities to trust instead of the system's, PEM.
    pub ca: Option<PathBuf>,
    /// Accept any certificate: kubelets often have one that nobody signed.
    pub skip_verify: bool,
    /// Labels of pods to keep.
    pub labels: Vec<PodLabel>,
}

/// Who lists the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The node's kubelet, by its base address.
    Kubelet(String),
    /// An API server by its base address, asked for the pods of one node.
    Api {
        /// Base address.
        url: String,
        /// Name of the node.
        node: String,
    },
}

/// What is known of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was not asked yet.
    Waiting,
    /// The last list has so many pods.
    Connected(usize),
    /// The last question was not answered, and why.
    Failed(String),
}

/// The event loop's end: takes lists.
#[derive(Debug)]
pub struct Watcher {
    pods: watch::Receiver<Arc<Pods>>,
    status: Arc<Mutex<Status>>,
    _task: JoinHandle<()>,
}

impl Watcher {
    /// Starts the task. It ends when the token is cancelled.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn spawn(settings: Settings, shutdown: CancellationToken) -> Result<Self, String> {
        Self::spawn_every(settings, EVERY, shutdown)
    }

    fn spawn_every(settings: Settings, every: Duration, shutdown: CancellationToken) -> Result<Self, String> {
        let client = Client::new(settings)?;
        let (sender, pods) = watch::channel(Arc::default());
        let status = Arc::new(Mutex::new(Status::Waiting));
        let shared = Arc::clone(&status);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = run(client, every, &sender, &shared) => {}
            }
        });
        Ok(Self { pods, status, _task: task })
    }

    /// The latest list, if it is a new one.
    pub fn changed(&mut self) -> Option<Arc<Pods>> {
        self.pods.has_changed().unwrap_or(false).then(|| self.pods.borrow_and_update().clone())
    }

    /// What is known of the endpoint.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn run(client: Client, every: Duration, lists: &watch::Sender<Arc<Pods>>, status: &Mutex<Status>) {
    let mut pause = every;
    loop {
        let found = match client.pods().await {
            Ok(pods) => {
                pause = every;
                let count = pods.len();
                lists.send_replace(Arc::new(pods));
                Status::Connected(count)
            }
            Err(reason) => {
                pause = (pause * 2).min(LONGEST_PAUSE.max(every));
                Status::Failed(reason)
            }
        };
        set(status, found);
        tokio::time::sleep(pause).await;
    }
}

fn set(status: &Mutex<Status>, found: Status) {
    let mut current = status.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*current, &found) {
        (Status::Failed(before), Status::Failed(reason)) if before == reason => {}
        (_, Status::Failed(reason)) => {
            tracing::warn!(reason, "pods are not listed: labels and owners of pods stay as they are");
        }
        (Status::Connected(_), Status::Connected(_)) => {}
        (_, Status::Connected(pods)) => tracing::info!(pods, "pods are listed"),
        (_, Status::Waiting) => {}
    }
    *current = found;
}

#[cfg(test)]
mod tests;
