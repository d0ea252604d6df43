//! The task of one target.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::batch::{Body, Group, group};
use super::client::{Client, NoAnswer};
use super::limiter::Limiter;
use super::split::split;
use super::stats::SharedStats;
use super::verdict::{Verdict, drop_reason, judge};
use super::{BATCH_BYTES, BATCH_SAMPLES};
use crate::blocking::{self, compute};
use crate::log::{Consumer, Position};
use crate::wire::remote_write::WriteRequest;

/// Attempts to open a segment whose file is gone before it is given up.
const OPEN_ATTEMPTS: u32 = 10;

/// Reads, posts, and moves the cursor.
#[derive(Debug)]
pub struct Forwarder {
    client: Client,
    stats: Arc<SharedStats>,
    backoff: Backoff,
    stop: CancellationToken,
    /// When to report samples that the target refused.
    refused: Limiter,
    /// When to report samples of the log that cannot be decoded.
    undecodable: Limiter,
    /// Whether the last write of the cursor failed, which is reported once.
    cursor_failing: bool,
}

/// The stop was asked for before the request was answered for good.
#[derive(Debug)]
struct Stopped {
    /// Whether the target may have received something that is not counted as delivered.
    ambiguous: bool,
}

/// What became of one request: it was taken, or refused as a whole.
enum Judged {
    Delivered,
    Refused { status: u16, message: String },
}

impl Forwarder {
    /// A forwarder that ends after `stop`.
    pub fn new(client: Client, stats: Arc<SharedStats>, stop: CancellationToken) -> Self {
        let seed =
            u64::from(crc32c::crc32c(client.target().identity().as_bytes())) ^ crate::log::now_ms() as u64;
        let backoff = Backoff::new(seed);
        let (refused, undecodable) = (Limiter::default(), Limiter::default());
        Self { client, stats, backoff, stop, refused, undecodable, cursor_failing: false }
    }

    /// Runs until the stop, at which the request under way is ended but not repeated.
    pub async fn run(mut self, mut consumer: Consumer) {
        let stop = self.stop.clone();
        let mut delivered = consumer.delivered();
        while stop.run_until_cancelled(consumer.ready()).await.is_some() {
            let batch;
            (consumer, batch) = self.read(consumer).await;
            let Some(batch) = batch else { break };
            // One durable write says both: the last batch is done, and this one may be on its way.
            consumer = self.commit(consumer, delivered, batch.end).await;
            let resent_until = consumer.resent_until();
            let mut stopped = None;
            for group in group(batch.records, resent_until) {
                let end = group.end();
                match self.deliver(group).await {
                    Ok(()) => delivered = end.unwrap_or(delivered),
                    Err(reason) => {
                        stopped = Some(reason);
                        break;
                    }
                }
            }
            if let Some(Stopped { ambiguous }) = stopped {
                let attempted = if ambiguous { batch.end } else { delivered };
                self.commit(consumer, delivered, attempted).await;
                return;
            }
            delivered = batch.end;
            consumer.release();
            if !consumer.has_more() {
                consumer = self.commit(consumer, delivered, delivered).await;
            }
        }
        self.commit(consumer, delivered, delivered).await;
    }

    /// Reads a batch on a blocking thread. `None`: the stop was asked for while the disk failed. A disk that fails is
    /// asked again and again, as what it holds may be intact; retention bounds how long.
    async fn read(&mut self, consumer: Consumer) -> (Consumer, Option<crate::log::Batch>) {
        let mut consumer = consumer;
        let (mut failed, mut missing) = (false, 0);
        loop {
            let result;
            (consumer, result) =
                on_disk(consumer, |consumer| consumer.read(BATCH_BYTES, BATCH_SAMPLES)).await;
            let error = match result {
                Ok(batch) => return (consumer, Some(batch)),
                Err(error) => error,
            };
            self.stats.note_failure(&format!("cannot read the log: {error}"), false);
            let target_name = self.client.target().identity();
            if !std::mem::replace(&mut failed, true) {
                tracing::error!(target_name, %error, "cannot read the log, trying again");
            }
            missing = if error.kind() == io::ErrorKind::NotFound { missing + 1 } else { 0 };
            if missing == OPEN_ATTEMPTS {
                tracing::error!(target_name, "a segment of the log is gone, skipped");
                consumer.skip_segment();
                missing = 0;
            }
            let pause = self.backoff.next(None);
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return (consumer, None);
            }
        }
    }

    /// Makes the cursor durable. If the disk refuses, more is sent again after a crash than needed: nothing is lost.
    async fn commit(&mut self, consumer: Consumer, delivered: Position, attempted: Position) -> Consumer {
        let (consumer, result) =
            on_disk(consumer, move |consumer| consumer.commit(delivered, attempted)).await;
        let target_name = self.client.target().identity();
        match &result {
            Err(error) if !self.cursor_failing => tracing::warn!(target_name, %error, "cannot write cursor"),
            Ok(()) if self.cursor_failing => tracing::info!(target_name, "cursor is written again"),
            _ => {}
        }
        self.cursor_failing = result.is_err();
        consumer
    }

    /// Sends a group until each sample of it is delivered or dropped.
    async fn deliver(&mut self, group: Group) -> Result<(), Stopped> {
        let resent = group.resent;
        let (bodies, undecodable) = compute(group.unpacked_bytes(), || group.bodies()).await;
        if undecodable.samples > 0 {
            self.drop_undecodable(undecodable.samples, &undecodable.first_error);
        }
        // What is still to be sent, the next one last, each with whether it may have arrived before.
        let mut waiting: Vec<(Body, bool)> = bodies.into_iter().rev().map(|body| (body, resent)).collect();
        let mut sent = false;
        while let Some((body, mut resent)) = waiting.pop() {
            let samples = body.sample_count();
            let (body, bytes) = encoded(body).await;
            match self.post(&bytes, &mut resent).await {
                Err(Stopped { ambiguous }) => return Err(Stopped { ambiguous: ambiguous || sent }),
                Ok(Judged::Delivered) => self.count_sent(bytes.len() as u64, samples),
                Ok(Judged::Refused { status, message }) => {
                    if let Some((first, second)) = self.divide(body, status, &message, resent).await {
                        waiting.push((Body::Decoded(second), resent));
                        waiting.push((Body::Decoded(first), resent));
                    }
                }
            }
            sent = true;
        }
        Ok(())
    }

    /// The halves of a refused request. A single sample has none: it is dropped, counted and reported.
    async fn divide(
        &mut self,
        body: Body,
        status: u16,
        message: &str,
        resent: bool,
    ) -> Option<(WriteRequest, WriteRequest)> {
        let samples = body.sample_count();
        match compute(body.unpacked_bytes(), || body.decode().map(split)).await {
            Ok(Ok(halves)) => return Some(halves),
            Ok(Err(_single)) => {
                self.count_dropped(drop_reason(status, message, resent), samples);
                self.report_refusal(status, message, samples);
            }
            Err(error) => self.drop_undecodable(samples, &error.to_string()),
        }
        None
    }

    /// Posts one body until it is taken or refused. `resent` becomes true once it may have arrived unnoticed.
    async fn post(&mut self, bytes: &Bytes, resent: &mut bool) -> Result<Judged, Stopped> {
        let mut ambiguous = false;
        loop {
            if self.stop.is_cancelled() {
                return Err(Stopped { ambiguous });
            }
            let asked = match self.client.post(bytes.clone()).await {
                Ok(answer) => match judge(answer.status, answer.retry_after) {
                    Verdict::Delivered => {
                        self.note_available(None);
                        return Ok(Judged::Delivered);
                    }
                    Verdict::Refused => {
                        self.note_available(Some(format!("status {}: {}", answer.status, answer.message)));
                        return Ok(Judged::Refused { status: answer.status, message: answer.message });
                    }
                    verdict => {
                        ambiguous |= matches!(answer.status, 408 | 500..);
                        self.note_unavailable(&format!("status {}: {}", answer.status, answer.message));
                        if let Verdict::Later(asked) = verdict { asked } else { None }
                    }
                },
                Err(NoAnswer::NotSent(error)) => {
                    self.note_unavailable(&error);
                    None
                }
                Err(NoAnswer::Lost(error)) => {
                    ambiguous = true;
                    self.note_unavailable(&error);
                    None
                }
            };
            *resent |= ambiguous;
            let pause = self.backoff.next(asked);
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Err(Stopped { ambiguous });
            }
        }
    }

    /// One line when a target becomes unavailable; status and metrics tell the rest.
    fn note_unavailable(&self, error: &str) {
        let was_healthy = self.stats.lock().healthy;
        if was_healthy {
            let target = self.client.target().identity();
            tracing::warn!(target_name = target, error, "target takes no samples, kept and tried again");
        }
        self.stats.note_failure(error, true);
    }

    /// The target answers again, be it by refusing something.
    fn note_available(&mut self, refusal: Option<String>) {
        self.backoff.reset();
        let mut stats = self.stats.lock();
        if !stats.healthy {
            tracing::info!(target_name = self.client.target().identity(), "target answers again");
        }
        (stats.healthy, stats.last_error) = (true, refusal);
    }

    fn count_sent(&self, bytes: u64, samples: u64) {
        let mut stats = self.stats.lock();
        stats.sent_requests += 1;
        stats.sent_bytes += bytes;
        stats.sent_samples += samples;
    }

    fn count_dropped(&self, reason: &str, samples: u64) {
        if samples > 0 {
            *self.stats.lock().dropped_samples.entry(reason.into()).or_default() += samples;
        }
    }

    fn report_refusal(&mut self, status: u16, message: &str, samples: u64) {
        if let Some(samples) = self.refused.add(samples, Instant::now()) {
            let target_name = self.client.target().identity();
            tracing::warn!(target_name, status, message, samples, "samples refused and dropped");
        }
    }

    fn drop_undecodable(&mut self, samples: u64, error: &str) {
        self.count_dropped("undecodable", samples);
        if let Some(samples) = self.undecodable.add(samples, Instant::now()) {
            let target_name = self.client.target().identity();
            tracing::error!(target_name, error, samples, "samples of the log cannot be decoded, dropped");
        }
    }
}

/// A body with its bytes.
async fn encoded(body: Body) -> (Body, Bytes) {
    compute(body.unpacked_bytes(), || {
        let bytes = body.encode();
        (body, bytes)
    })
    .await
}

/// Runs something on the consumer that touches the disk.
async fn on_disk<T: Send + 'static>(
    mut consumer: Consumer,
    work: impl FnOnce(&mut Consumer) -> io::Result<T> + Send + 'static,
) -> (Consumer, io::Result<T>) {
    blocking::run(move || {
        let result = work(&mut consumer);
        (consumer, result)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::log::sim::SimDisk;
    use crate::log::{Kind, Log, LogOptions, Pending, Record};

    fn forwarder() -> Forwarder {
        let client = Client::new("http://127.0.0.1:1/w".parse().unwrap(), "test").unwrap();
        let stats = Arc::new(SharedStats::new(String::new()));
        Forwarder { backoff: Backoff::impatient(), ..Forwarder::new(client, stats, CancellationToken::new()) }
    }

    /// Lines of the log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    #[cfg(feature = "server")]
    impl Lines {
        /// What this thread logs until the guard is dropped.
        fn collect() -> (Self, tracing::subscriber::DefaultGuard) {
            let lines = Self::default();
            let writer = lines.clone();
            let subscriber =
                tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
            (lines, tracing::subscriber::set_default(subscriber))
        }

        /// Those that contain `text`.
        fn with(&self, text: &str) -> Vec<String> {
            let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[cfg(feature = "server")]
    #[tokio::test]
    async fn a_cursor_that_cannot_be_written_is_told_once_and_by_whose_it_is() {
        let (lines, _guard) = Lines::collect();
        let disk = SimDisk::default();
        let options = LogOptions::new("/d", 1 << 20, Duration::from_secs(3600));
        let log = Log::open(Arc::new(disk.clone()), options).unwrap();
        let mut consumer = log.consumer("t").unwrap();
        let mut forwarder = forwarder();
        disk.fail_syncs(3);
        for seq in 1..=5 {
            let place = Position { seq, sample: seq };
            consumer = forwarder.commit(consumer, place, place).await;
        }
        assert_eq!(consumer.delivered().seq, 5);
        let told = lines.with("cursor");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|line| line.contains(&forwarder.client.target().identity())), "{told:?}");
        log.close().await;
    }

    #[cfg(feature = "server")]
    #[tokio::test]
    async fn records_that_cannot_be_decoded_are_told_once_and_by_whose_they_are() {
        let (lines, _guard) = Lines::collect();
        let mut forwarder = forwarder();
        let record = |seq| Record {
            position: Position { seq, sample: seq },
            end: Position { seq: seq + 1, sample: seq + 1 },
            timestamp_ms: 0,
            samples: 1,
            kind: None,
            payload: Bytes::new(),
        };
        for first in [0, 3] {
            let records = (first..first + 3).map(record).collect();
            forwarder.deliver(Group { records, resent: false }).await.unwrap();
        }
        assert_eq!(forwarder.stats.get().dropped_samples, [("undecodable".to_owned(), 6)].into());
        let told = lines.with("ERROR");
        assert_eq!(told.len(), 1, "{told:?}");
        for part in ["record 0: written by a newer version", "samples=3"] {
            assert!(told[0].contains(part), "{told:?}");
        }
        assert!(told[0].contains(&forwarder.client.target().identity()), "{told:?}");
    }

    #[tokio::test]
    async fn a_disk_that_fails_for_long_costs_nothing() {
        let disk = SimDisk::default();
        let options = LogOptions::new("/d", 1 << 20, Duration::from_secs(3600));
        let log = Log::open(Arc::new(disk.clone()), options).unwrap();
        let consumer = log.consumer("t").unwrap();
        let pending =
            Pending { kind: Kind::RemoteWrite1, payload: vec![0; 10].into(), samples: 1, timestamp_ms: 0 };
        log.append(pending).await.unwrap();
        disk.fail_reads(0, 50);
        let mut forwarder = forwarder();
        let (_consumer, batch) = forwarder.read(consumer).await;
        assert_eq!(batch.map(|batch| batch.records.len()), Some(1));
        assert!(forwarder.stats.get().last_error.unwrap().starts_with("cannot read the log: "));
        log.close().await;
    }
}
