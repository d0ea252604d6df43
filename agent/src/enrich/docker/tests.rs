use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;
use crate::enrich::cgroup_path::Runtime;
use crate::enrich::metadata::{Mount, PublishedPort};
use crate::model::WorkloadIx;

const ANSWER: &str = r#"{"Id":"abc","Name":"/web","Config":{"Image":"nginx:1","Labels":{"com.docker.compose.service":"b","a":"b"},
"Env":["NOMAD_JOB_NAME=job","PASSWORD=x"]},"Mounts":[{"Type":"volume","Name":"data","Source":"/srv/v","Destination":"/data"}],
"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],
"53/udp":[{"HostIp":"0.0.0.0","HostPort":"53"}],"81/tcp":null}}}"#;

fn container(id: &str) -> ContainerRef {
    ContainerRef { workload: WorkloadIx(1), runtime: Runtime::Docker, id: id.into() }
}

/// A daemon of version 1.41 that knows the container `abc`, and never answers about `hang`.
fn daemon(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let (status, body) = match request.split(' ').nth(1).unwrap_or_default() {
                    path if path.ends_with("/version") => ("200 OK", r#"{"ApiVersion":"1.41"}"#),
                    "/containers/abc/json" | "/v1.41/containers/abc/json" => ("200 OK", ANSWER),
                    path if path.contains("/hang/") => return std::future::pending().await,
                    path if path.starts_with("/v") && !path.starts_with("/v1.41/") => {
                        ("400 Bad Request", r#"{"message":"too new"}"#)
                    }
                    _ => ("404 Not Found", r#"{"message":"no such container"}"#),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            });
        }
    });
}

async fn ask(inspector: &mut Inspector, id: &str) -> Result<ContainerMetadata, InspectError> {
    inspector.ask(container(id)).unwrap();
    let (about, answer) = inspector.answer().await.expect("the task lives");
    assert_eq!(about, container(id));
    answer
}

#[tokio::test]
async fn a_container_is_described() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    daemon(&socket);
    let (mut inspector, _task) = spawn_with(vec![socket], TIMEOUT, CancellationToken::new());
    assert_eq!(inspector.status(), Status::Unused);
    let metadata = ask(&mut inspector, "abc").await.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.image.as_str()), ("web", "nginx:1"));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(Vec::from_iter(metadata.labels), [pair("com.docker.compose.service", "b")]);
    assert_eq!(Vec::from_iter(metadata.environment), [pair("NOMAD_JOB_NAME", "job")]);
    let mount = Mount { destination: "/data".into(), source: "/srv/v".into(), volume: Some("data".into()) };
    assert_eq!(metadata.mounts, [mount]);
    let port = |address: &str| PublishedPort { address: address.parse().unwrap(), port: 8080 };
    assert_eq!(metadata.published, [port("0.0.0.0"), port("::")]);
    assert_eq!(ask(&mut inspector, "other").await, Err(InspectError::NotFound));
    assert_eq!(inspector.status(), Status::Connected);
}

#[tokio::test]
async fn without_a_socket_every_question_is_answered_by_where_it_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let (mut inspector, _task) = spawn_with(vec![socket.clone()], TIMEOUT, CancellationToken::new());
    for _ in 0..2 {
        let reason = format!("no docker socket (tried {})", socket.display());
        assert_eq!(ask(&mut inspector, "abc").await, Err(InspectError::Absent(reason.clone())));
        assert_eq!(inspector.status(), Status::Absent(reason));
    }
}

#[tokio::test]
async fn a_dead_socket_is_unreachable() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let (mut inspector, _task) = spawn_with(vec![socket], TIMEOUT, CancellationToken::new());
    for _ in 0..2 {
        assert!(matches!(ask(&mut inspector, "abc").await, Err(InspectError::Unreachable(_))));
        assert!(matches!(inspector.status(), Status::Unreachable(_)));
    }
}

#[tokio::test]
async fn a_daemon_that_hangs_is_left_alone_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    daemon(&socket);
    let (mut inspector, _task) =
        spawn_with(vec![socket], Duration::from_millis(200), CancellationToken::new());
    assert_eq!(ask(&mut inspector, "hang").await, Err(InspectError::Timeout));
    let error = ask(&mut inspector, "abc").await.unwrap_err();
    assert_eq!(error, InspectError::Unreachable("no answer in time".into()));
}

#[tokio::test]
async fn a_full_queue_hands_the_question_back_and_shutdown_ends_the_task() {
    let shutdown = CancellationToken::new();
    let (inspector, task) = spawn_with(Vec::new(), TIMEOUT, shutdown.clone());
    for _ in 0..QUEUE {
        inspector.ask(container("abc")).unwrap();
    }
    assert_eq!(inspector.fill(), QueueFill { depth: QUEUE, capacity: QUEUE });
    assert_eq!(inspector.ask(container("abc")), Err(container("abc")));
    shutdown.cancel();
    task.await.unwrap();
}
