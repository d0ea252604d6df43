//! One socket of a runtime: asked one question at a time, within a time limit, and left alone when it does not answer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::sockets::Socket;
use super::{Kind, State, containerd, cri, docker, storage};
use crate::enrich::metadata::{ContainerMetadata, ContainerRef, InspectError};

/// How long a runtime that did not answer is left alone, the first time.
const PAUSE: Duration = Duration::from_secs(5);
/// One that hangs costs others who wait behind it a time limit at each try: it is tried ever more rarely.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A runtime at a socket.
#[derive(Debug)]
pub(super) struct Endpoint {
    kind: Kind,
    socket: Socket,
    timeout: Duration,
    /// Held while it is asked: one question at a time is no burden to a runtime.
    patience: tokio::sync::Mutex<Patience>,
    /// Held for a copy only.
    state: Mutex<State>,
}

/// What keeps a runtime in trouble from being asked.
#[derive(Debug, Default)]
struct Patience {
    paused_until: Option<Instant>,
    /// Questions in a row that ran into the time limit.
    timeouts: u32,
}

impl Endpoint {
    pub(super) fn new(kind: Kind, socket: Socket, timeout: Duration) -> Self {
        Self { kind, socket, timeout, patience: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    /// Whether this is the same socket.
    pub(super) fn is_at(&self, socket: &Socket) -> bool {
        self.socket == *socket
    }

    /// What is known of it.
    pub(super) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks about a container.
    pub(super) async fn inspect(&self, container: &ContainerRef) -> Result<ContainerMetadata, InspectError> {
        let mut patience = self.patience.lock().await;
        if patience.paused_until.is_some_and(|until| Instant::now() < until) {
            let reason = self.state().reason().unwrap_or_default().to_owned();
            return Err(InspectError::Unreachable(reason));
        }
        let answer = match timeout(self.timeout, self.ask(container)).await {
            Ok(answer) => answer,
            Err(_) => Err(InspectError::Timeout),
        };
        patience.timeouts = if answer == Err(InspectError::Timeout) { patience.timeouts + 1 } else { 0 };
        patience.paused_until = None;
        match &answer {
            Err(error @ (InspectError::Unreachable(_) | InspectError::Timeout)) => {
                let pause = PAUSE * (1 << patience.timeouts.saturating_sub(1).min(4));
                patience.paused_until = Some(Instant::now() + pause.min(LONGEST_PAUSE));
                self.set(State::Unreachable(error.to_string()));
            }
            _ => self.set(State::Connected),
        }
        answer
    }

    async fn ask(&self, container: &ContainerRef) -> Result<ContainerMetadata, InspectError> {
        match self.kind {
            Kind::Podman if self.socket.is_list() => storage::inspect(&self.socket.path, &container.id).await,
            Kind::Docker | Kind::Podman => docker::inspect(&self.socket.path, &container.id).await,
            Kind::Containerd => containerd::inspect(&self.socket, container.runtime, &container.id).await,
            Kind::Cri => cri::inspect(&self.socket.path, container.runtime, &container.id).await,
        }
    }

    /// Takes over a state; a change is logged once.
    pub(super) fn set(&self, state: State) {
        let (runtime, endpoint) = (self.kind.name(), self.socket.name.display());
        let mut current = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*current, &state) {
            (State::Unused, State::Connected) => {
                tracing::info!(runtime, %endpoint, "the container runtime answers");
            }
            (State::Absent(_) | State::Unreachable(_), State::Connected) => {
                tracing::info!(runtime, %endpoint, "the container runtime answers again");
            }
            (State::Unused | State::Connected | State::Unreachable(_), State::Absent(reason)) => {
                tracing::info!(runtime, %endpoint, reason, "the container runtime went away");
            }
            (State::Unused | State::Connected | State::Absent(_), State::Unreachable(reason)) => {
                tracing::warn!(
                    runtime,
                    %endpoint,
                    reason,
                    "the container runtime does not answer: its containers keep their ids for names"
                );
            }
            _ => {}
        }
        *current = state;
    }
}
