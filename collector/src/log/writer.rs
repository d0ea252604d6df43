//! The writer's thread: many appends become one write and one `fdatasync`.
//!
//! While one group is being made durable the next one gathers in the channel; nothing waits for a timer.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::LogOptions;
use super::disk::Disk;
use super::error::AppendError;
use super::format::{Kind, RECORD_HEADER_LEN};
use super::index::Shared;
use super::reader::Consumer;
use super::recovery::{self, CURSORS};
use super::stats::{Backlog, LogStats};
use super::store::{CommitError, Store};

/// Appends waiting for the writer; bounds memory together with [`WAITING_BYTES`].
const WAITING_APPENDS: usize = 1024;
/// Bytes of payload waiting for the writer or being written.
const WAITING_BYTES: u32 = 64 << 20;
/// Most that is written at once, so that the first of a group does not wait for many others.
const GROUP_BYTES: u64 = 8 << 20;
/// How often an idle writer looks at the bounds.
const TICK: Duration = Duration::from_millis(500);

/// A record that is not in the log yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What the payload is.
    pub kind: Kind,
    /// The payload.
    pub payload: Bytes,
    /// Samples in it.
    pub samples: u32,
    /// Now, milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl Pending {
    pub(super) fn stored_len(&self) -> u64 {
        (RECORD_HEADER_LEN + self.payload.len()) as u64
    }
}

/// Whoever waits for an append, with the room its payload takes. The room is not the waiting future's: the payload
/// stays in the channel when the future is dropped.
struct Waiting {
    reply: oneshot::Sender<Result<(), CommitError>>,
    _room: OwnedSemaphorePermit,
}

enum Message {
    Append(Pending, Waiting),
    Tick(i64),
    Stop,
}

/// A log that is open. Whoever opens it holds the directory's lock.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Message>,
    waiting: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Recovers the directory and starts the writer. Blocks while the last segment is read.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> io::Result<Self> {
        let (shared, store) = recovery::open(disk.clone(), options.clone())?;
        let (sender, receiver) = mpsc::channel(WAITING_APPENDS);
        let group_bytes = GROUP_BYTES.min(options.segment_bytes);
        let thread = std::thread::Builder::new()
            .name("sonde-log".into())
            .spawn(move || run(store, receiver, group_bytes))?;
        let waiting = Arc::new(Semaphore::new(WAITING_BYTES as usize));
        Ok(Self { disk, options, shared, sender, waiting, thread: Mutex::new(Some(thread)) })
    }

    /// Appends a record; resolves once it is durable, or refused.
    pub async fn append(&self, pending: Pending) -> Result<(), AppendError> {
        let bytes = pending.payload.len() as u64;
        let allowed = self.options.max_record_bytes;
        if bytes > allowed {
            return Err(AppendError::TooLarge { bytes, allowed });
        }
        let weight = u32::try_from(bytes).unwrap_or(WAITING_BYTES).clamp(1, WAITING_BYTES);
        let room = self.waiting.clone().acquire_many_owned(weight).await.map_err(|_| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let message = Message::Append(pending, Waiting { reply, _room: room });
        self.sender.send(message).await.map_err(|_| AppendError::Closed)?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.disk_full => {
                Err(AppendError::DiskFull { path: self.options.dir.clone() })
            }
            Ok(Err(error)) => {
                Err(AppendError::Io { path: self.options.dir.clone(), reason: error.to_string() })
            }
            Err(_) => Err(AppendError::Closed),
        }
    }

    /// Opens a consumer; each name once. `name` must be fit for a file's name.
    pub fn consumer(&self, name: &str) -> io::Result<Consumer> {
        Consumer::open(self.disk.clone(), self.shared.clone(), &self.options.dir.join(CURSORS), name)
    }

    /// Lets the writer look at the bounds every half second. Ends when the writer has.
    pub async fn keep_bounds(&self) {
        loop {
            tokio::select! {
                () = self.sender.closed() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            match self.sender.try_send(Message::Tick(now_ms())) {
                // A full channel means that the writer is busy with commits, which keep the bounds too.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }

    /// What it holds and did.
    pub fn stats(&self, now_ms: i64) -> LogStats {
        let index = self.shared.lock();
        let mut stats = index.stats.clone();
        stats.bytes = index.bytes();
        stats.segments = index.segments.len() as u64;
        let oldest = index.segments.front().map(|segment| segment.created_ms);
        stats.oldest_age_seconds = oldest.map_or(0.0, |created| seconds_since(created, now_ms));
        stats
    }

    /// What `counted` tells of a consumer, with its backlog and losses, which the log knows. It is called under the
    /// lock that a consumer releases its batch under: what is no backlog any more is counted in it already.
    pub fn with_backlog<T>(&self, consumer: &str, now_ms: i64, counted: impl FnOnce() -> T) -> (T, Backlog) {
        let index = self.shared.lock();
        let counted = counted();
        let state = index.consumers.iter().find(|state| state.name == consumer);
        let backlog = state.map_or_else(Backlog::default, |state| {
            let oldest = state.held.oldest_ms.or_else(|| index.began_ms(state.read));
            Backlog {
                samples: index.end.sample.saturating_sub(state.read.sample) + state.held.samples,
                bytes: index.bytes_after(state.read) + state.held.bytes,
                oldest_age_seconds: oldest.map_or(0.0, |oldest| seconds_since(oldest, now_ms)),
                lost_damaged: state.lost_damaged,
                lost_expired: state.lost_expired,
            }
        });
        (counted, backlog)
    }

    /// Writes what waits, and ends the writer.
    pub async fn close(&self) {
        let _ = self.sender.send(Message::Stop).await;
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn seconds_since(then_ms: i64, now_ms: i64) -> f64 {
    now_ms.saturating_sub(then_ms).max(0) as f64 / 1000.0
}

/// Now, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// What is written at once.
#[derive(Default)]
struct Gathered {
    group: Vec<Pending>,
    waiting: Vec<Waiting>,
    bytes: u64,
}

impl Gathered {
    fn push(&mut self, pending: Pending, waiting: Waiting) {
        self.bytes += pending.stored_len();
        self.group.push(pending);
        self.waiting.push(waiting);
    }

    /// Writes the group and tells everyone who waits.
    fn commit(self, store: &mut Store, failing: &mut bool) {
        let Some(now) = self.group.last().map(|pending| pending.timestamp_ms) else { return };
        let result = store.commit(&self.group, now);
        report(&result, failing);
        // The payloads go before the room that they were given.
        drop(self.group);
        for waiting in self.waiting {
            // Nobody waits any more: the record is in the log all the same.
            let _ = waiting.reply.send(result.clone());
        }
    }
}

fn run(mut store: Store, mut receiver: mpsc::Receiver<Message>, group_bytes: u64) {
    let mut failing = false;
    let mut next = receiver.blocking_recv();
    while next.is_some() {
        let mut gathered = Gathered::default();
        while let Some(message) = next.take() {
            match message {
                Message::Append(pending, waiting) => {
                    // A single append may be larger than the bound, a group may not.
                    if !gathered.group.is_empty() && gathered.bytes + pending.stored_len() > group_bytes {
                        next = Some(Message::Append(pending, waiting));
                        break;
                    }
                    gathered.push(pending, waiting);
                }
                Message::Tick(now) => store.maintain(now),
                // What was sent before is still received.
                Message::Stop => receiver.close(),
            }
            next = receiver.try_recv().ok();
        }
        gathered.commit(&mut store, &mut failing);
        next = next.or_else(|| receiver.blocking_recv());
    }
}

/// One line when the disk begins to fail and one when it recovered, however many appends are refused between.
fn report(result: &Result<(), CommitError>, failing: &mut bool) {
    match result {
        Err(error) if !*failing => tracing::error!(%error, "the log refuses samples"),
        Ok(()) if *failing => tracing::info!("the log takes samples again"),
        _ => {}
    }
    *failing = result.is_err();
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Poll;

    use super::*;
    use crate::log::sim::SimDisk;

    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

    /// A payload that tells how many bytes of its kind are alive.
    struct Counted(Arc<AtomicU64>);

    impl Counted {
        fn payload(alive: &Arc<AtomicU64>) -> Bytes {
            alive.fetch_add(ZEROS.len() as u64, Ordering::SeqCst);
            Bytes::from_owner(Self(alive.clone()))
        }
    }

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &ZEROS
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(ZEROS.len() as u64, Ordering::SeqCst);
        }
    }

    fn pending(payload: Bytes) -> Pending {
        Pending { kind: Kind::RemoteWrite1, payload, samples: 1, timestamp_ms: now_ms() }
    }

    async fn poll_once(future: impl Future) {
        let mut future = std::pin::pin!(tokio::task::unconstrained(future));
        std::future::poll_fn(|context| {
            let _ = future.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn appends_that_nobody_waits_for_keep_their_room_until_they_are_written() {
        let disk = SimDisk::default();
        let options = LogOptions::new("/d", 10 << 30, Duration::from_secs(3600));
        let log = Log::open(Arc::new(disk.clone()), options).unwrap();
        let alive = Arc::new(AtomicU64::new(0));
        let blocked = disk.block();
        for _ in 0..200 {
            poll_once(log.append(pending(Counted::payload(&alive)))).await;
        }
        assert_eq!(alive.load(Ordering::SeqCst), u64::from(WAITING_BYTES));
        drop(blocked);
        log.append(pending(Bytes::from_static(b"x"))).await.unwrap();
        assert_eq!(log.stats(now_ms()).appended_records, 65);
        log.close().await;
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(log.waiting.available_permits(), WAITING_BYTES as usize);
    }

    #[tokio::test]
    async fn a_group_is_no_larger_than_a_segment() {
        let disk = SimDisk::default();
        let options = LogOptions {
            segment_bytes: 1000,
            max_record_bytes: 2000,
            ..LogOptions::new("/d", 1 << 20, Duration::from_secs(3600))
        };
        let log = Log::open(Arc::new(disk.clone()), options).unwrap();
        let blocked = disk.block();
        for _ in 0..30 {
            poll_once(log.append(pending(Bytes::from_static(&[0; 100])))).await;
        }
        drop(blocked);
        log.append(pending(Bytes::from_static(&[0; 2000]))).await.unwrap();
        log.close().await;
        assert_eq!(log.stats(now_ms()).appended_records, 31);
        let mut sizes: Vec<u64> = disk.files().into_iter().map(|(_, size)| size).collect();
        sizes.sort();
        assert_eq!(sizes.pop(), Some(52 + 44 + 2000));
        assert!(sizes.len() >= 5 && sizes.iter().all(|size| *size <= 52 + 1000), "{sizes:?}");
    }
}
