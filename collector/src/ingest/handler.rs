//! The endpoint: from a request to an answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use prost::Message;

use super::body::{self, Refused};
use super::room::{Room, Rooms};
use super::{ApiKeys, IngestStats, Limits, Reason, Refusal, check_headers, validate};
use crate::blocking::compute;
use crate::pipeline::{AppendError, Pipeline};
use crate::wire::remote_write::{DecodeError, Label, WriteRequest, memory_to_decode, unpack};

/// Memory that a decoded request may take, as a multiple of its bound in bytes: usual ones take three to four times.
const MEMORY_FACTOR: u64 = 5;
/// Seconds after which a request may come again when the log does not take it.
const RETRY_AFTER_S: u32 = 5;

/// How requests are taken.
#[derive(Debug, Default)]
pub struct IngestConfig {
    /// Who may write.
    pub keys: ApiKeys,
    /// Label that holds the project of whoever wrote; none is added without.
    pub tenant_label: Option<String>,
    /// Bounds.
    pub limits: Limits,
}

/// The receiving end.
#[derive(Debug)]
pub struct Ingest {
    config: IngestConfig,
    pipeline: Arc<Pipeline>,
    stats: IngestStats,
    rooms: Rooms,
}

/// What is left of a request.
struct Judged {
    /// What goes into the log; nothing if all was refused.
    payload: Option<Bytes>,
    samples: u64,
    refusal: Option<Refusal>,
    _room: Room,
}

impl Ingest {
    /// Receives for a pipeline.
    pub fn new(config: IngestConfig, pipeline: Arc<Pipeline>) -> Arc<Self> {
        let rooms = Rooms::new(config.limits.in_flight_bytes);
        Arc::new(Self { config, pipeline, stats: IngestStats::default(), rooms })
    }

    /// What was received.
    pub fn stats(&self) -> &IngestStats {
        &self.stats
    }

    /// The endpoints.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/api/v1/write", post(handle))
            .route("/v1/metrics", post(handle))
            // Bodies are bounded where they are read.
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    async fn receive(self: &Arc<Self>, parts: &Parts, body: &mut Body) -> Result<Option<Refusal>, Refused> {
        let project = self.config.keys.project(&parts.headers).ok_or_else(|| {
            Refused::new(StatusCode::UNAUTHORIZED, Reason::Unauthorized, "api key missing or unknown")
        })?;
        check_headers(&parts.headers).map_err(|message| {
            Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Reason::Unsupported, message)
        })?;
        let limits = &self.config.limits;
        let mut room = self.rooms.enter();
        let declared = body::declared_length(&parts.headers, limits)?;
        let payload = body::read(body, declared, limits, &mut room).await?;
        let unpacked = snap::raw::decompress_len(&payload).map_or(0, |length| length as u64);
        room.take(unpacked.min(limits.decoded_bytes))?;
        let (ingest, project) = (self.clone(), project.to_owned());
        let judged =
            compute(unpacked.max(payload.len() as u64), move || ingest.judge(payload, &project, room))
                .await?;
        if let Some(payload) = judged.payload {
            let bytes = payload.len() as u64;
            self.pipeline.append_encoded(payload, judged.samples).await.map_err(refuse_unstored)?;
            self.stats.stored(bytes, judged.samples);
        }
        Ok(judged.refusal)
    }

    /// Decodes a body and takes out what is refused.
    fn judge(&self, payload: Bytes, project: &str, mut room: Room) -> Result<Judged, Refused> {
        let limits = &self.config.limits;
        let message = unpack(&payload, limits.decoded_bytes).map_err(refuse_undecodable)?;
        let memory = memory_to_decode(&message).map_err(refuse_undecodable)?;
        let allowed = limits.decoded_bytes * MEMORY_FACTOR;
        if memory > allowed {
            return Err(refuse_undecodable(DecodeError::TooLarge { declared: memory, allowed }));
        }
        room.take(memory)?;
        let mut request =
            WriteRequest::decode(&message[..]).map_err(|error| refuse_undecodable(error.into()))?;
        drop(message);
        let refusal = validate(&mut request);
        let samples = request.sample_count();
        let holds_something = !request.timeseries.is_empty() || !request.metadata.is_empty();
        let payload = holds_something.then(|| self.to_store(request, payload, refusal.is_some(), project));
        Ok(Judged { payload, samples, refusal, _room: room })
    }

    /// What goes into the log: the body as it came unless something in it was changed.
    fn to_store(&self, mut request: WriteRequest, payload: Bytes, changed: bool, project: &str) -> Bytes {
        match &self.config.tenant_label {
            None if !changed => payload,
            None => request.to_snappy().into(),
            Some(label) => {
                for series in &mut request.timeseries {
                    set_label(&mut series.labels, label, project);
                }
                request.to_snappy().into()
            }
        }
    }
}

/// Sets a label, whatever the sender gave it, and keeps the order by name.
fn set_label(labels: &mut Vec<Label>, name: &str, value: &str) {
    let label = Label { name: name.into(), value: value.into() };
    match labels.binary_search_by(|other| other.name.as_str().cmp(name)) {
        Ok(at) => labels[at] = label,
        Err(at) => labels.insert(at, label),
    }
}

async fn handle(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    match ingest.receive(&parts, &mut body).await {
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Ok(Some(refusal)) => {
            for (reason, samples) in refusal.samples.values() {
                ingest.stats.refused_samples(*reason, *samples);
            }
            let rest = "the rest of the request was stored";
            let message = format!("{} series refused, {rest}; first: {}\n", refusal.series, refusal.first);
            (StatusCode::BAD_REQUEST, message).into_response()
        }
        Err(refused) => {
            ingest.stats.refused(refused.reason);
            body::discard(&mut body, &ingest.config.limits).await;
            let mut response = (refused.status, format!("{}\n", refused.message)).into_response();
            if let Some(seconds) = refused.retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}

fn refuse_undecodable(error: DecodeError) -> Refused {
    let (status, reason) = match error {
        DecodeError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Reason::TooLargeDecoded),
        DecodeError::Snappy(_) => (StatusCode::BAD_REQUEST, Reason::Snappy),
        DecodeError::Protobuf(_) | DecodeError::Truncated => (StatusCode::BAD_REQUEST, Reason::Protobuf),
    };
    Refused::new(status, reason, error.to_string())
}

fn refuse_unstored(error: AppendError) -> Refused {
    match error {
        AppendError::TooLarge { .. } => {
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, Reason::TooLarge, error.to_string())
        }
        // Paths of this machine are nobody's business.
        AppendError::DiskFull { .. } => {
            Refused::later(Reason::Storage, "no space left to store samples", RETRY_AFTER_S)
        }
        AppendError::Io { .. } => Refused::later(Reason::Storage, "samples cannot be stored", RETRY_AFTER_S),
        AppendError::Closed => {
            Refused::later(Reason::Storage, "the collector is shutting down", RETRY_AFTER_S)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_label_cannot_be_forged_and_keeps_the_order() {
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        let mut labels = vec![label("__name__", "up"), label("z", "1")];
        set_label(&mut labels, "tenant", "a");
        assert_eq!(labels, [label("__name__", "up"), label("tenant", "a"), label("z", "1")]);
        set_label(&mut labels, "tenant", "b");
        assert_eq!(labels, [label("__name__", "up"), label("tenant", "b"), label("z", "1")]);
    }
}
