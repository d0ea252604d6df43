//! gRPC over a unix socket: one HTTP/2 connection, unary calls.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::enrich::metadata::InspectError;

/// Some servers refuse a request whose authority is a socket's path.
const ORIGIN: &str = "http://localhost";
/// The description of a container, its whole OCI specification included, has some 20 KB.
const MAX_ANSWER: usize = 1 << 20;

/// A connection to a server. It ends with this value.
pub(super) struct Connection {
    grpc: Grpc<Channel>,
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

impl Connection {
    /// Connects to a socket.
    pub(super) async fn open(socket: &Path) -> Result<Self, InspectError> {
        let unreachable = |error: &dyn std::fmt::Display| {
            InspectError::Unreachable(format!("{}: {error}", socket.display()))
        };
        let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(&error))?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(&error))?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let grpc = Grpc::with_origin(Channel(sender), Uri::from_static(ORIGIN))
            .max_decoding_message_size(MAX_ANSWER);
        Ok(Self { grpc, _driver })
    }

    /// Calls a method, `/<service>/<method>`, with a header if there is one to send.
    pub(super) async fn call<Q, A>(
        &mut self,
        method: &'static str,
        header: Option<(&'static str, &str)>,
        question: Q,
    ) -> Result<A, InspectError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut request = tonic::Request::new(question);
        if let Some((name, value)) = header {
            let value = MetadataValue::try_from(value)
                .map_err(|error| InspectError::Malformed(format!("`{value}`: {error}")))?;
            request.metadata_mut().insert(name, value);
        }
        let ready = self.grpc.ready().await;
        ready.map_err(|error| InspectError::Unreachable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = self.grpc.unary(request, PathAndQuery::from_static(method), codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| failure(&status))
    }
}

/// What a status means. A server's own words come without a source; what broke on the way has one.
fn failure(status: &Status) -> InspectError {
    let message = status.message();
    let denies = || message.contains("not found") || message.to_lowercase().contains("no such container");
    match status.code() {
        Code::NotFound => InspectError::NotFound,
        // cri-dockerd hands Docker's words on.
        Code::Unknown if denies() => InspectError::NotFound,
        Code::Unavailable => InspectError::Unreachable(message.to_owned()),
        _ if std::error::Error::source(status).is_some() => InspectError::Unreachable(message.to_owned()),
        code => InspectError::Malformed(format!("the answer is {code:?}: {message}")),
    }
}

/// What tonic sends requests through.
struct Channel(http2::SendRequest<Body>);

impl GrpcService<Body> for Channel {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        let of = |code, message: &str| failure(&Status::new(code, message));
        assert_eq!(of(Code::NotFound, "x"), InspectError::NotFound);
        assert_eq!(of(Code::Unknown, "Error: No such container: x"), InspectError::NotFound);
        assert_eq!(of(Code::Unavailable, "closing"), InspectError::Unreachable("closing".to_owned()));
        let unknown = InspectError::Malformed("the answer is Unknown: x".to_owned());
        assert_eq!(of(Code::Unknown, "x"), unknown);
        let missing = InspectError::Malformed("the answer is Unimplemented: unknown service".to_owned());
        assert_eq!(of(Code::Unimplemented, "unknown service"), missing);
    }
}
