//! The HTTP edge of both programs: plain or TLS, credentials, bounded connections, graceful end.
//!
//! What a stranger can make it hold is bounded: [`ListenConfig::max_connections`] connections, each with a
//! deadline for the TLS handshake, for the head of a request, and for the writing of a response. Bodies are bounded where they are read.

mod auth;
mod patience;
mod server;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use auth::Credentials;
pub use server::Listener;

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// Address and port; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// Certificate; plain HTTP without.
    pub tls: Option<ListenTls>,
    /// File with the credentials that every request but `/healthz` and `/readyz` must show; see [`Credentials`].
    pub auth: Option<PathBuf>,
    /// Connections at a time; further ones wait in the system's queue.
    pub max_connections: usize,
    /// How long a handshake, and the head of a request, may take.
    pub header_timeout: Duration,
    /// How long the other side may take to read a response.
    pub response_timeout: Duration,
    /// How long open requests may take after the stop was asked for.
    pub drain_timeout: Duration,
}

/// Certificate of a listener, all PEM files.
#[derive(Clone, Debug)]
pub struct ListenTls {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of client certificates; when given, every client must show one.
    pub client_ca: Option<PathBuf>,
}

/// Why listening is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be used.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of the listener cannot be used.
    #[error("cannot use {what} {path}: {reason}", path = path.display())]
    File {
        /// `certificate`, `key`, `client authority` or `credentials`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not go together.
    #[error("cannot use certificate and key: {0}")]
    Tls(#[from] rustls::Error),
}

impl ListenConfig {
    /// Plain HTTP without credentials, with the default bounds.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            tls: None,
            auth: None,
            max_connections: 512,
            header_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }

    /// Reads the files of certificates and credentials, to tell in advance what [`Listener::bind`] would refuse.
    pub fn check_files(&self) -> Result<(), ListenError> {
        self.tls.as_ref().map(tls::server_config).transpose()?;
        self.auth.as_deref().map(Credentials::read).transpose()?;
        Ok(())
    }
}
