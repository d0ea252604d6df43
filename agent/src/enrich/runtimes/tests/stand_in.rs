//! Daemons of every kind that know one container, `abc`.

use std::convert::Infallible;
use std::path::Path;

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;

use super::Kind;

/// What a daemon does when it is asked about `abc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Knows,
    Denies,
    Hangs,
    /// Takes the connection and closes it.
    HangsUp,
    /// Answers with more than anybody may take.
    Floods,
}

/// A daemon; it ends with this value, and its socket with it.
pub(super) struct StandIn {
    socket: std::path::PathBuf,
    _task: AbortOnDropHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// What a daemon answers to a request: by path, the value of the namespace header, and the body.
pub(super) type Answers = fn(&str, &str, &[u8]) -> Option<Vec<u8>>;

impl StandIn {
    /// A daemon with the answers of its kind.
    pub(super) fn start(kind: Kind, socket: &Path, behaviour: Behaviour) -> Self {
        Self::with(kind, socket, behaviour, answers(kind))
    }

    /// A daemon with these answers; `None` is a denial.
    pub(super) fn with(kind: Kind, socket: &Path, behaviour: Behaviour, answers: Answers) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if behaviour == Behaviour::HangsUp {
                    continue;
                }
                let io = TokioIo::new(stream);
                if matches!(kind, Kind::Docker | Kind::Podman) {
                    let service = service_fn(move |request| rest(request, behaviour, answers));
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
                } else {
                    let service = service_fn(move |request| grpc(request, behaviour, answers));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(io, service));
                }
            }
        });
        Self { socket: socket.to_owned(), _task: AbortOnDropHandle::new(task) }
    }
}

const FLOOD: usize = 3 << 20;

async fn rest(
    request: Request<Incoming>,
    behaviour: Behaviour,
    answers: Answers,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match behaviour {
        Behaviour::Hangs | Behaviour::HangsUp => std::future::pending().await,
        Behaviour::Floods => (200, vec![b' '; FLOOD]),
        Behaviour::Denies => (404, br#"{"message":"no such container"}"#.to_vec()),
        Behaviour::Knows => match answers(request.uri().path(), "", b"") {
            Some(body) => (200, body),
            None => (404, Vec::new()),
        },
    };
    Ok(Response::builder().status(status).body(Full::new(body.into())).unwrap())
}

/// The gRPC protocol over HTTP/2: a flag, a length, a message; the status comes behind, or instead.
async fn grpc(
    request: Request<Incoming>,
    behaviour: Behaviour,
    answers: Answers,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let namespace = request.headers().get("containerd-namespace");
    let namespace = namespace.map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let answer = match behaviour {
        Behaviour::Hangs | Behaviour::HangsUp => std::future::pending().await,
        Behaviour::Floods => Some(vec![0; FLOOD]),
        Behaviour::Denies if path.ends_with("Namespaces/List") => Some(Vec::new()),
        Behaviour::Denies => None,
        Behaviour::Knows => answers(&path, &namespace, &body[5..]),
    };
    let mut trailers = HeaderMap::new();
    let mut frames = Vec::new();
    match answer {
        Some(message) => {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            frames.push(Ok(Frame::data([&[0], &length[..], &message].concat().into())));
            trailers.insert("grpc-status", "0".parse().unwrap());
        }
        None => {
            trailers.insert("grpc-status", "5".parse().unwrap());
            trailers.insert("grpc-message", "not found".parse().unwrap());
        }
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let body = StreamBody::new(futures_util::stream::iter(frames));
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

fn answers(kind: Kind) -> Answers {
    match kind {
        Kind::Docker => |path, _, _| docker(path, "docker:1"),
        Kind::Podman => |path, _, _| docker(path, "podman:1"),
        Kind::Containerd => |path, namespace, _| {
            let image = field(3, b"containerd:1");
            (path.ends_with("Containers/Get") && namespace == "k8s.io").then(|| field(1, &image))
        },
        Kind::Cri => |path, _, _| {
            let pod = pair("io.kubernetes.pod.name", "pod");
            let status = [field(8, &field(1, b"cri:1")), field(12, &pod)].concat();
            path.ends_with("ContainerStatus").then(|| field(1, &status))
        },
    }
}

fn docker(path: &str, image: &str) -> Option<Vec<u8>> {
    let body = format!(r#"{{"Name":"/web","Config":{{"Image":"{image}"}}}}"#);
    (path == "/containers/abc/json").then(|| body.into_bytes())
}

/// A field of a protobuf message that has a length: text, bytes, or a message. Written by hand, so that a wrong number
/// in the agent's declarations cannot hide in the test.
pub(super) fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// An entry of a map from text to text.
pub(super) fn pair(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, value.as_bytes())].concat()
}

/// The text in the only field of a question.
pub(super) fn text(number: u32, message: &[u8]) -> String {
    let expected = field(number, &message[2..]);
    assert_eq!(message, expected, "one short field of number {number}");
    String::from_utf8(message[2..].to_vec()).unwrap()
}
