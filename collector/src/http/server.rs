//! Accepting and serving connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::patience::Patient;
use super::{Credentials, ListenConfig, ListenError, auth, tls};

/// Pause after the system refused to hand out a connection, such as when files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket with everything read that is needed to serve on it.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    credentials: Option<Arc<Credentials>>,
    config: ListenConfig,
}

impl Listener {
    /// Reads the files of the configuration and binds the address.
    pub async fn bind(config: ListenConfig) -> Result<Self, ListenError> {
        let tls = config.tls.as_ref().map(tls::server_config).transpose()?.map(TlsAcceptor::from);
        let credentials = config.auth.as_deref().map(Credentials::read).transpose()?.map(Arc::new);
        let socket = TcpListener::bind(config.addr)
            .await
            .map_err(|source| ListenError::Bind { addr: config.addr, source })?;
        Ok(Self { socket, tls, credentials, config })
    }

    /// The address bound, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap_or(self.config.addr)
    }

    /// Serves until `stop`, then lets open requests end for the drain timeout and drops the rest.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let router = match &self.credentials {
            None => router,
            Some(known) => router.layer(axum::middleware::from_fn_with_state(known.clone(), auth::demand)),
        };
        let slots = Arc::new(Semaphore::new(self.config.max_connections));
        let connections = TaskTracker::new();
        // Ends what the drain timeout left open.
        let abandon = CancellationToken::new();
        while let Some((stream, slot)) = self.next_connection(&slots, &stop).await {
            let connection = Connection {
                router: router.clone(),
                header_timeout: self.config.header_timeout,
                response_timeout: self.config.response_timeout,
                stop: stop.clone(),
                tls: self.tls.clone(),
            };
            let abandon = abandon.clone();
            connections.spawn(async move {
                abandon.run_until_cancelled(connection.run(stream)).await;
                drop(slot);
            });
        }
        drop(self.socket);
        connections.close();
        if tokio::time::timeout(self.config.drain_timeout, connections.wait()).await.is_err() {
            tracing::warn!(
                open = connections.len(),
                "requests still open at the end of the drain timeout, dropped"
            );
            abandon.cancel();
            connections.wait().await;
        }
    }

    /// The next connection with its slot; `None` once the stop was asked for.
    async fn next_connection(
        &self,
        slots: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        loop {
            let slot = stop.run_until_cancelled(slots.clone().acquire_owned()).await?.ok()?;
            match stop.run_until_cancelled(self.socket.accept()).await? {
                Ok((stream, _)) => return Some((stream, slot)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await?;
                }
            }
        }
    }
}

struct Connection {
    router: Router,
    header_timeout: Duration,
    response_timeout: Duration,
    stop: CancellationToken,
    tls: Option<TlsAcceptor>,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let Ok(peer) = stream.peer_addr() else { return };
        // Answers are small and complete: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, self.response_timeout);
        let Some(tls) = self.tls.clone() else { return self.http(stream, peer).await };
        match tokio::time::timeout(self.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake refused"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
        let Self { router, header_timeout, stop, .. } = self;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let request: Request = request.map(Body::new);
            let router = router.clone();
            async move {
                Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    }
}
