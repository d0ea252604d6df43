//! One answer to `/metrics`, made while it is taken.
//!
//! A task makes the pieces and hands them to the connection through a channel of one. When the client stops reading,
//! the task waits, and gives up at the deadline: the snapshot and the slot are free again whatever the client does.
//! A body that ends early ends with an error, so that no client takes a part for the whole.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::compress::Compressor;
use super::stats::Timer;
use crate::registry::{Compression, Exposition, Format, Snapshot};

/// Bytes that a piece has before compression, or a little more: enough to make the cost per piece vanish.
const PIECE: usize = 64 << 10;

/// Everything that an answer holds until its end.
pub(super) struct Scrape {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) format: Format,
    pub(super) compression: Compression,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) timer: Timer,
    /// When the answer ends, complete or not.
    pub(super) deadline: Instant,
}

/// What the task hands to the connection.
enum Piece {
    Bytes(Bytes),
    /// Everything was handed over.
    End,
}

impl Scrape {
    pub(super) fn respond(self) -> Response {
        let content_type = self.format.content_type();
        let encoding = self.compression.content_encoding();
        let (pieces, taken) = mpsc::channel(1);
        tokio::spawn(self.produce(pieces));
        let mut response = Body::from_stream(stream::unfold(Some(taken), next)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
        headers.insert(header::VARY, header::HeaderValue::from_static("Accept, Accept-Encoding"));
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static(encoding));
        }
        response
    }

    async fn produce(self, pieces: mpsc::Sender<Piece>) {
        let Self { snapshot, format, compression, permit, timer, deadline } = self;
        let (exposition, compressor) = (Exposition::new(snapshot, format), Compressor::new(compression));
        match tokio::time::timeout_at(deadline, hand_over(exposition, compressor, pieces)).await {
            Ok(Ok(())) => timer.done(),
            Ok(Err(reason)) => timer.failed(reason),
            Err(_) => timer.failed("client_slow"),
        }
        drop(permit);
    }
}

/// Makes the pieces and hands them over to the end, or says why not.
async fn hand_over(
    mut exposition: Exposition,
    mut compressor: Compressor,
    pieces: mpsc::Sender<Piece>,
) -> Result<(), &'static str> {
    let mut more = true;
    while more {
        let mut piece = Vec::with_capacity(PIECE + (PIECE >> 3));
        more = exposition.fill(&mut piece, PIECE);
        let piece = compressor.take(piece, more).map_err(|_| "compression")?;
        if !piece.is_empty() {
            pieces.send(Piece::Bytes(piece.into())).await.map_err(|_| "client_gone")?;
        }
    }
    pieces.send(Piece::End).await.map_err(|_| "client_gone")
}

async fn next(
    taken: Option<mpsc::Receiver<Piece>>,
) -> Option<(io::Result<Bytes>, Option<mpsc::Receiver<Piece>>)> {
    let mut taken = taken?;
    match taken.recv().await {
        Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(taken))),
        Some(Piece::End) => None,
        None => Some((Err(io::Error::new(io::ErrorKind::TimedOut, "scrape was not taken in time")), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;
    use crate::registry::{Labels, SnapshotBuilder};

    #[tokio::test]
    async fn an_answer_that_cannot_be_compressed_is_not_the_clients_fault() {
        let exposition = || {
            let snapshot = SnapshotBuilder::default().build(UnixMillis(0), Labels::empty());
            Exposition::new(Arc::new(snapshot), Format::Text)
        };
        let (pieces, mut taken) = mpsc::channel(1);
        assert_eq!(hand_over(exposition(), Compressor::Done, pieces).await, Err("compression"));
        assert!(taken.recv().await.is_none(), "nothing was handed over");
        let (pieces, taken) = mpsc::channel(1);
        drop(taken);
        let zstd = Compressor::new(Compression::Zstd);
        assert_eq!(hand_over(exposition(), zstd, pieces).await, Err("client_gone"));
    }
}
