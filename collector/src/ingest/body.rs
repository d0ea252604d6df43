//! Reading a body within its bound and its time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::room::Room;
use super::{Limits, Reason};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the rest of a refused body is thrown away.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Least room taken with the first bytes that arrive, whatever length a request declares.
const FIRST_ROOM: u64 = 64 << 10;

/// A request that is answered without being stored.
#[derive(Debug)]
pub(super) struct Refused {
    pub status: StatusCode,
    pub reason: Reason,
    pub message: String,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u32>,
}

impl Refused {
    pub fn new(status: StatusCode, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), retry_after: None }
    }

    pub fn later(reason: Reason, message: impl Into<String>, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, message) }
    }
}

/// The length that a request declares, unless it is over the bound.
pub(super) fn declared_length(headers: &HeaderMap, limits: &Limits) -> Result<Option<u64>, Refused> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > limits.body_bytes => Err(too_large(limits)),
        length => Ok(length),
    }
}

/// Throws away what is still to come of a body that was refused. Most clients look at the answer only after they have
/// sent everything, and would otherwise see nothing but a broken connection.
pub(super) async fn discard(body: &mut Body, limits: &Limits) {
    let drain = async {
        let mut left = limits.body_bytes.saturating_mul(2);
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, drain).await;
}

/// Reads the whole body. Room is taken as it arrives: who declares much and sends nothing takes none from others.
pub(super) async fn read(
    body: &mut Body,
    declared: Option<u64>,
    limits: &Limits,
    room: &mut Room,
) -> Result<Bytes, Refused> {
    let incomplete = |message: &str| Refused::new(StatusCode::REQUEST_TIMEOUT, Reason::Incomplete, message);
    let collect = async {
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| incomplete("the body ended early"))?;
            let Ok(data) = frame.into_data() else { continue };
            if (read.len() + data.len()) as u64 > limits.body_bytes {
                return Err(too_large(limits));
            }
            let needed = (read.len() + data.len()) as u64;
            if needed > room.bytes() {
                let most = declared.unwrap_or(limits.body_bytes);
                let wanted = (2 * room.bytes()).max(FIRST_ROOM).min(most).max(needed);
                room.take(wanted - room.bytes().min(wanted))?;
                read.reserve(wanted as usize - read.len());
            }
            read.extend_from_slice(&data);
        }
        Ok(read.freeze())
    };
    tokio::time::timeout(BODY_TIMEOUT, collect).await.map_err(|_| incomplete("the body took too long"))?
}

fn too_large(limits: &Limits) -> Refused {
    let message = format!("body is too large, allowed are {} bytes", limits.body_bytes);
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, Reason::TooLarge, message)
}
