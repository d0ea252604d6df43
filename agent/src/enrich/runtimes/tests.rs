mod containers;
mod queues;
mod stand_in;

use std::path::Path;

use super::*;
use crate::enrich::cgroup_path::Runtime;
use crate::model::{UnixMillis, WorkloadIx};
use crate::registry::Labels;
use stand_in::{Behaviour, StandIn};

impl Inspector {
    /// Waits for the next answer; `None` when the tasks have ended.
    async fn answer(&mut self) -> Option<Answer> {
        let (kind, answer) = self.answers.recv().await?;
        Some(self.taken(kind, answer))
    }
}

fn about(runtime: Runtime, id: &str) -> ContainerRef {
    ContainerRef { workload: WorkloadIx(1), runtime, id: id.into(), user: None }
}

/// Sockets of this directory, one of every kind.
fn sockets(directory: &Path) -> Sockets {
    Sockets::only(Kind::ALL.map(|kind| RuntimeSocket { kind, path: socket(directory, kind) }).into())
}

fn socket(directory: &Path, kind: Kind) -> PathBuf {
    directory.join(format!("{kind}.sock"))
}

async fn ask(inspector: &mut Inspector, runtime: Runtime) -> Result<ContainerMetadata, InspectError> {
    inspector.ask(about(runtime, "abc")).unwrap();
    let (container, answer) = inspector.answer().await.expect("the tasks live");
    assert_eq!(container, about(runtime, "abc"));
    answer
}

fn state(inspector: &Inspector, kind: Kind) -> State {
    let of_kind = |status: &Status| status.runtime == kind;
    inspector.status().into_iter().find(of_kind).expect("every kind has a status").state
}

/// Kinds that were asked, with their answers and failures.
fn counted(inspector: &Inspector) -> Vec<(Kind, u64, u64)> {
    let counts = inspector.counts.iter().map(|(kind, answered)| (kind, answered.ok, answered.failed));
    counts.filter(|(_, ok, failed)| ok + failed > 0).collect()
}

/// The kind that answers for the containers of each runtime when it is the only one here.
const ONLY: [(Runtime, Kind); 9] = [
    (Runtime::Docker, Kind::Docker),
    (Runtime::Docker, Kind::Containerd),
    (Runtime::Docker, Kind::Podman),
    (Runtime::Podman, Kind::Podman),
    (Runtime::Containerd, Kind::Containerd),
    (Runtime::Containerd, Kind::Cri),
    (Runtime::Crio, Kind::Cri),
    (Runtime::Kubepods, Kind::Cri),
    (Runtime::Kubepods, Kind::Docker),
];

/// Looks for a socket at every question.
const CURIOUS: Times = Times { look_again: Duration::ZERO, ..TIMES };

#[tokio::test]
async fn a_daemon_that_starts_late_is_found() {
    for (runtime, kind) in ONLY {
        let directory = tempfile::tempdir().unwrap();
        let (mut inspector, _task) = spawn_with(sockets(directory.path()), CURIOUS, CancellationToken::new());
        assert_eq!(state(&inspector, kind), State::Unused);
        let missing = ask(&mut inspector, runtime).await.unwrap_err();
        assert!(matches!(missing, InspectError::Absent(_)), "{missing:?}");
        let socket = socket(directory.path(), kind);
        let reason = format!("no {kind} socket (tried {})", socket.display());
        assert_eq!(state(&inspector, kind), State::Absent(reason));
        let daemon = StandIn::start(kind, &socket, Behaviour::Knows);
        let metadata = ask(&mut inspector, runtime).await.unwrap();
        assert_eq!(metadata.image, format!("{kind}:1"), "{runtime:?}");
        assert_eq!(state(&inspector, kind), State::Connected);
        let status = inspector.status().into_iter().find(|status| status.runtime == kind).unwrap();
        assert_eq!(status.endpoint, Some(socket));
        drop(daemon);
        assert!(matches!(ask(&mut inspector, runtime).await, Err(InspectError::Absent(_))), "{kind}");
        assert_eq!(state(&inspector, kind), State::Absent("the socket is gone".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_absent_is_looked_for_once_in_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let times = Times { look_again: hour, ..TIMES };
    let (mut inspector, _task) = spawn_with(sockets(directory.path()), times, CancellationToken::new());
    let absent = ask(&mut inspector, Runtime::Docker).await;
    assert!(matches!(absent, Err(InspectError::Absent(_))), "{absent:?}");
    let socket = socket(directory.path(), Kind::Docker);
    let _daemon = StandIn::start(Kind::Docker, &socket, Behaviour::Knows);
    assert_eq!(ask(&mut inspector, Runtime::Docker).await, absent, "the answer of a moment ago");
    tokio::time::advance(hour).await;
    assert_eq!(ask(&mut inspector, Runtime::Docker).await.unwrap().image, "docker:1");
}

#[tokio::test]
async fn a_denial_passes_on_to_the_next_and_all_of_them_are_one() {
    let directory = tempfile::tempdir().unwrap();
    let _denying = [Kind::Docker, Kind::Containerd]
        .map(|kind| StandIn::start(kind, &socket(directory.path(), kind), Behaviour::Denies));
    let (mut inspector, _task) = spawn_with(sockets(directory.path()), CURIOUS, CancellationToken::new());
    assert_eq!(ask(&mut inspector, Runtime::Docker).await, Err(InspectError::NotFound));
    assert_eq!(counted(&inspector), [(Kind::Docker, 0, 1)]);
    let podman = StandIn::start(Kind::Podman, &socket(directory.path(), Kind::Podman), Behaviour::Knows);
    assert_eq!(ask(&mut inspector, Runtime::Docker).await.unwrap().image, "podman:1");
    drop(podman);
    // Nobody but containerd, which denies it, and CRI-O, which is not here, can have made it.
    assert!(matches!(ask(&mut inspector, Runtime::Kubepods).await, Err(InspectError::Absent(_))));
    let _cri = StandIn::start(Kind::Cri, &socket(directory.path(), Kind::Cri), Behaviour::Denies);
    assert_eq!(ask(&mut inspector, Runtime::Kubepods).await, Err(InspectError::NotFound));
    let of_each = [(Kind::Docker, 0, 1), (Kind::Podman, 1, 0), (Kind::Containerd, 0, 2)];
    assert_eq!(counted(&inspector), of_each, "who described it, or who was asked first");
}

#[tokio::test]
async fn answers_are_counted_for_the_kind_of_runtime_that_gave_them() {
    for (runtime, kind) in ONLY {
        let directory = tempfile::tempdir().unwrap();
        let _daemon = StandIn::start(kind, &socket(directory.path(), kind), Behaviour::Knows);
        let (mut inspector, _task) = spawn_with(sockets(directory.path()), CURIOUS, CancellationToken::new());
        ask(&mut inspector, runtime).await.unwrap();
        assert_eq!(counted(&inspector), [(kind, 1, 0)], "{runtime:?}");
        let mut builder = SnapshotBuilder::default();
        inspector.collect(&mut builder);
        let snapshot = builder.build(UnixMillis(0), Labels::empty());
        let family = snapshot
            .families
            .iter()
            .find(|family| family.metric.name == "sonde_agent_inspections_total")
            .unwrap();
        assert_eq!(family.samples.len(), 2 * Kind::ALL.len());
    }
}

#[tokio::test]
async fn two_daemons_of_a_kind_are_both_asked() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["k3s.sock", "docker.sock"].map(|name| directory.path().join(name));
    let given = paths.clone().map(|path| RuntimeSocket { kind: Kind::Containerd, path });
    let _denies = StandIn::start(Kind::Containerd, &paths[0], Behaviour::Denies);
    let _knows = StandIn::start(Kind::Containerd, &paths[1], Behaviour::Knows);
    let (mut inspector, _task) = spawn_with(Sockets::only(given.into()), CURIOUS, CancellationToken::new());
    assert_eq!(ask(&mut inspector, Runtime::Containerd).await.unwrap().image, "containerd:1");
    let connected: Vec<_> =
        inspector.status().into_iter().filter(|status| status.state == State::Connected).collect();
    assert_eq!(connected.len(), 2, "{connected:?}");
}

#[tokio::test]
async fn a_dead_socket_is_unreachable_for_every_kind() {
    for (runtime, kind) in ONLY {
        let directory = tempfile::tempdir().unwrap();
        let socket = socket(directory.path(), kind);
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let (mut inspector, _task) = spawn_with(sockets(directory.path()), CURIOUS, CancellationToken::new());
        for _ in 0..2 {
            let error = ask(&mut inspector, runtime).await.unwrap_err();
            assert!(matches!(error, InspectError::Unreachable(_)), "{kind}: {error:?}");
            assert!(matches!(state(&inspector, kind), State::Unreachable(_)), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_is_unreachable() {
    for (runtime, kind) in ONLY {
        let directory = tempfile::tempdir().unwrap();
        let _daemon = StandIn::start(kind, &socket(directory.path(), kind), Behaviour::HangsUp);
        let (mut inspector, _task) = spawn_with(sockets(directory.path()), CURIOUS, CancellationToken::new());
        let error = ask(&mut inspector, runtime).await.unwrap_err();
        assert!(matches!(error, InspectError::Unreachable(_)), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    for (runtime, kind) in ONLY {
        let directory = tempfile::tempdir().unwrap();
        let _daemon = StandIn::start(kind, &socket(directory.path(), kind), Behaviour::Floods);
        let (mut inspector, _task) = spawn_with(sockets(directory.path()), CURIOUS, CancellationToken::new());
        let error = ask(&mut inspector, runtime).await.unwrap_err();
        let InspectError::Malformed(reason) = error else { panic!("{kind}: {error:?}") };
        assert!(reason.contains("1048576 bytes"), "{kind}: {reason}");
    }
}

/// The clock stands still while anything can go on, and else jumps to the next deadline.
#[tokio::test(start_paused = true)]
async fn one_that_hangs_delays_nobody_else_and_is_left_alone_ever_longer() {
    let directory = tempfile::tempdir().unwrap();
    let _docker = StandIn::start(Kind::Docker, &socket(directory.path(), Kind::Docker), Behaviour::Hangs);
    let _knows = [Kind::Containerd, Kind::Cri, Kind::Podman]
        .map(|kind| StandIn::start(kind, &socket(directory.path(), kind), Behaviour::Knows));
    let hour = Duration::from_secs(3600);
    let slow = Times { timeout: hour, ..CURIOUS };
    let (mut inspector, _task) = spawn_with(sockets(directory.path()), slow, CancellationToken::new());
    let started = tokio::time::Instant::now();
    inspector.ask(about(Runtime::Docker, "abc")).unwrap();
    for runtime in [Runtime::Containerd, Runtime::Crio, Runtime::Podman] {
        assert!(ask(&mut inspector, runtime).await.is_ok(), "{runtime:?}");
    }
    assert!(started.elapsed() < hour);
    // When the time is up the others are asked, who know it.
    assert!(inspector.answer().await.unwrap().1.is_ok());
    assert_eq!(started.elapsed().as_secs(), hour.as_secs());
    assert_eq!(state(&inspector, Kind::Docker), State::Unreachable("no answer in time".to_owned()));
    // While it is left alone nobody waits for it.
    let asked = tokio::time::Instant::now();
    assert!(ask(&mut inspector, Runtime::Docker).await.is_ok());
    assert_eq!(asked.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn a_full_queue_hands_the_question_back_and_shutdown_ends_the_tasks() {
    let shutdown = CancellationToken::new();
    let (inspector, task) = spawn_with(Sockets::only(Vec::new()), CURIOUS, shutdown.clone());
    for _ in 0..QUEUE {
        inspector.ask(about(Runtime::Docker, "abc")).unwrap();
    }
    assert_eq!(inspector.fill(), QueueFill { depth: QUEUE, capacity: QUEUE * Kind::ALL.len() });
    let container = about(Runtime::Docker, "abc");
    assert_eq!(inspector.ask(container.clone()), Err(container));
    inspector.ask(about(Runtime::Podman, "abc")).unwrap();
    let nobodys = about(Runtime::Lxc, "abc");
    assert_eq!(inspector.ask(nobodys.clone()), Err(nobodys));
    shutdown.cancel();
    task.await.unwrap();
}
