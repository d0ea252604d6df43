//! Asks the container runtimes of the node about containers: Docker, podman, containerd, and whoever speaks CRI.
//!
//! The event loop only puts questions into bounded queues and takes answers out of another one. Each [`Kind`] of runtime
//! has a task and a queue of its own, so that one that hangs delays nobody else's containers, and each socket is left
//! alone for a while when it does not answer. Every question gets an answer, if only an error, and is asked again by
//! [`Workloads`](super::Workloads) with growing pauses. A connection lasts for one question: an idle node keeps none.
//! Only unix sockets are spoken to. Without a socket there is no runtime: nothing to be warned of.

mod containerd;
mod counts;
mod cri;
mod docker;
mod endpoint;
mod grpc;
mod nerdctl;
mod order;
mod sockets;
mod spec;
mod status;
mod storage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Workloads;
use super::metadata::{ContainerMetadata, ContainerRef, InspectError};
use crate::registry::SnapshotBuilder;
use crate::telemetry::QueueFill;
use counts::Counts;
use endpoint::Endpoint;
use order::Verdict;
pub use order::{Kind, order};
pub use sockets::RuntimeSocket;
use sockets::Sockets;
pub use status::{State, Status};

/// An answer: about whom, and what.
pub type Answer = (ContainerRef, Result<ContainerMetadata, InspectError>);

/// Questions that may wait for one kind of runtime, and answers: more than a node starts containers in a second.
const QUEUE: usize = 256;

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// For one answer: a healthy runtime takes milliseconds; one under load a second.
    timeout: Duration,
    /// So long a kind without a socket counts as absent: many containers are asked about at a time.
    look_again: Duration,
}

/// Those of the agent.
const TIMES: Times = Times { timeout: Duration::from_secs(5), look_again: Duration::from_millis(250) };
/// Sockets of one kind that are remembered, those that are gone included.
const MAX_ENDPOINTS: usize = 32;

/// The event loop's end: puts questions, takes answers.
#[derive(Debug)]
pub struct Inspector {
    questions: [mpsc::Sender<ContainerRef>; Kind::ALL.len()],
    answers: mpsc::Receiver<(Kind, Answer)>,
    counts: Counts,
    runtimes: Arc<Runtimes>,
}

impl Inspector {
    /// Puts a question.
    ///
    /// # Errors
    /// Hands the container back when too many are waiting, when nobody can know it, or when the tasks have ended.
    pub fn ask(&self, container: ContainerRef) -> Result<(), ContainerRef> {
        let Some(first) = order(container.runtime).first() else { return Err(container) };
        self.questions[first as usize].try_send(container).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Puts all questions there are. One that does not fit in the queue of its kind of runtime is put back, to be asked
    /// next time: it says nothing about the container, and other kinds have queues of their own.
    pub fn ask_all(&self, workloads: &mut Workloads) {
        let mut refused = Vec::new();
        while let Some(container) = workloads.next_inspection() {
            refused.extend(self.ask(container).err());
        }
        refused.into_iter().for_each(|container| workloads.put_back_inspection(container));
    }

    /// Takes an answer if there is one.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let (kind, answer) = self.answers.try_recv().ok()?;
        Some(self.taken(kind, answer))
    }

    fn taken(&mut self, kind: Kind, answer: Answer) -> Answer {
        self.counts.count(kind, answer.1.is_ok());
        answer
    }

    /// What is known of every runtime, by kind and socket.
    pub fn status(&self) -> Vec<Status> {
        self.runtimes.status()
    }

    /// Questions that wait, and how many may.
    pub fn fill(&self) -> QueueFill {
        let capacity = self.questions.iter().map(mpsc::Sender::max_capacity).sum::<usize>();
        let free = self.questions.iter().map(mpsc::Sender::capacity).sum::<usize>();
        QueueFill { depth: capacity - free, capacity }
    }

    /// Adds the series of the queues and of the answers.
    pub fn collect(&self, builder: &mut SnapshotBuilder) {
        self.fill().collect("inspections", builder);
        self.counts.collect(builder);
    }
}

/// Starts the tasks that ask. They end when the token is cancelled or the [`Inspector`] is dropped.
///
/// Sockets are looked for on the host, through process 1's root, and then among those that were mounted into the agent's
/// container; `given` ones are asked before the usual ones of their kind.
pub fn spawn(
    proc_root: &Path,
    given: Vec<RuntimeSocket>,
    shutdown: CancellationToken,
) -> (Inspector, JoinHandle<()>) {
    spawn_with(Sockets::of_host(proc_root, given), TIMES, shutdown)
}

/// The runtimes that could be asked now, by kind and name of the socket.
pub fn present(proc_root: &Path, given: Vec<RuntimeSocket>) -> Vec<(Kind, PathBuf)> {
    let sockets = Sockets::of_host(proc_root, given);
    let of_kind = |kind| sockets.of_node(kind).into_iter().map(move |socket| (kind, socket.name));
    Kind::ALL.into_iter().flat_map(of_kind).collect()
}

fn spawn_with(sockets: Sockets, times: Times, shutdown: CancellationToken) -> (Inspector, JoinHandle<()>) {
    let runtimes = Arc::new(Runtimes { sockets, times, table: Mutex::default() });
    let (answered, answers) = mpsc::channel(QUEUE);
    let mut tasks = Vec::new();
    let questions = Kind::ALL.map(|kind| {
        let (questions, asked) = mpsc::channel(QUEUE);
        tasks.push(run(kind, runtimes.clone(), asked, answered.clone()));
        questions
    });
    let mut set = tokio::task::JoinSet::new();
    tasks.into_iter().for_each(|task| drop(set.spawn(task)));
    let task = tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            // Dropping the set ends what is still asked.
            () = async { while set.join_next().await.is_some() {} } => {}
        }
    });
    (Inspector { questions, answers, counts: Counts::default(), runtimes }, task)
}

/// Asks about the containers whose question goes to a kind of runtime first. An answer is of the kind that gave it, a
/// failure of the one that was asked first.
async fn run(
    first: Kind,
    runtimes: Arc<Runtimes>,
    mut asked: mpsc::Receiver<ContainerRef>,
    answered: mpsc::Sender<(Kind, Answer)>,
) {
    while let Some(container) = asked.recv().await {
        let (kind, answer) = match runtimes.inspect(&container).await {
            Ok((kind, metadata)) => (kind, Ok(metadata)),
            Err(error) => (first, Err(error)),
        };
        if answered.send((kind, (container, answer))).await.is_err() {
            return;
        }
    }
}

/// Every runtime of the node, as far as it was asked.
#[derive(Debug)]
struct Runtimes {
    sockets: Sockets,
    times: Times,
    /// Held for a look-up or a copy, never over an await.
    table: Mutex<[OfKind; Kind::ALL.len()]>,
}

/// The runtimes of one kind.
#[derive(Debug, Default)]
struct OfKind {
    endpoints: BTreeMap<PathBuf, Arc<Endpoint>>,
    /// Why there is none, and when that was seen.
    absent: Option<(String, Instant)>,
}

impl Runtimes {
    /// Asks everyone who may know, in order, until one does, and tells who did.
    async fn inspect(&self, container: &ContainerRef) -> Result<(Kind, ContainerMetadata), InspectError> {
        let order = order(container.runtime);
        let mut verdict = Verdict::default();
        for kind in order.all() {
            let missing = self.sockets.given_but_absent(kind).filter(|_| container.user.is_none());
            match self.endpoints(kind, container.user, order.is_own(kind)) {
                Ok(endpoints) => {
                    for endpoint in endpoints {
                        match (endpoint.inspect(container).await, &missing) {
                            (Ok(metadata), _) => return Ok((kind, metadata)),
                            // Who was named is expected to come: until then the others' denial is none.
                            (Err(InspectError::NotFound), Some(reason)) => {
                                verdict.note(kind, InspectError::Absent(reason.clone()));
                            }
                            (Err(error), _) => verdict.note(kind, error),
                        }
                    }
                }
                Err(absent) => verdict.note(kind, absent),
            }
        }
        Err(verdict.error(&order))
    }

    /// Why a kind has no socket, if that was seen a moment ago.
    fn lately_absent(&self, kind: Kind) -> Option<String> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (reason, seen) = table[kind as usize].absent.as_ref()?;
        (seen.elapsed() < self.times.look_again).then(|| reason.clone())
    }

    /// The runtimes of a kind that have a socket now.
    fn endpoints(
        &self,
        kind: Kind,
        user: Option<u32>,
        is_missed: bool,
    ) -> Result<Vec<Arc<Endpoint>>, InspectError> {
        if user.is_none()
            && let Some(reason) = self.lately_absent(kind)
        {
            return Err(InspectError::Absent(reason));
        }
        let found = match user {
            Some(uid) => self.sockets.of_user(kind, uid).into_iter().collect(),
            None => self.sockets.of_node(kind),
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = &mut table[kind as usize];
        for (name, endpoint) in &of_kind.endpoints {
            let is_meant = Sockets::is_of(name, user);
            if is_meant && !found.iter().any(|socket| socket.name == *name) {
                endpoint.set(State::Absent("the socket is gone".to_owned()));
            }
        }
        if found.is_empty() {
            let reason = match user {
                Some(uid) => return Err(InspectError::Absent(format!("user {uid} has no {kind} socket"))),
                None => format!("no {kind} socket (tried {})", self.sockets.looked_for(kind)),
            };
            if of_kind.absent.is_none() && of_kind.endpoints.is_empty() && is_missed {
                tracing::info!(reason, "no {kind} here: its containers keep their ids for names");
            }
            of_kind.absent = Some((reason.clone(), Instant::now()));
            return Err(InspectError::Absent(reason));
        }
        of_kind.absent = None;
        let new = found.iter().filter(|socket| !of_kind.endpoints.contains_key(&socket.name)).count();
        if of_kind.endpoints.len() + new > MAX_ENDPOINTS {
            of_kind.endpoints.retain(|name, _| found.iter().any(|socket| socket.name == *name));
        }
        let timeout = self.times.timeout;
        let endpoint = |socket: sockets::Socket| {
            let new = || Arc::new(Endpoint::new(kind, socket.clone(), timeout));
            let known = of_kind.endpoints.entry(socket.name.clone()).or_insert_with(new);
            // A daemon that was started anew has another socket at the same place.
            if !known.is_at(&socket) {
                *known = new();
            }
            known.clone()
        };
        Ok(found.into_iter().map(endpoint).collect())
    }

    fn status(&self) -> Vec<Status> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = |(kind, of_kind): (&Kind, &OfKind)| {
            if of_kind.endpoints.is_empty() {
                let absent = of_kind.absent.as_ref().map(|(reason, _)| State::Absent(reason.clone()));
                let state = absent.unwrap_or(State::Unused);
                return vec![Status { runtime: *kind, endpoint: None, state }];
            }
            let status = |(name, endpoint): (&PathBuf, &Arc<Endpoint>)| Status {
                runtime: *kind,
                endpoint: Some(name.clone()),
                state: endpoint.state(),
            };
            of_kind.endpoints.iter().map(status).collect()
        };
        Kind::ALL.iter().zip(&*table).flat_map(of_kind).collect()
    }
}

#[cfg(test)]
mod tests;
