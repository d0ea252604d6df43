//! Log and forwarders put together: what is appended is durable, and reaches every target from there.

#[cfg(test)]
mod tests;
mod unexpected;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking;
use crate::config::{Problems, QueueConfig, RemoteWriteTarget, problems_of_targets};
use crate::forward::{Client, ClientError, Forwarder, SharedStats};
use crate::log::{Backlog, Consumer, DirLock, Kind, LockError, Log, LogOptions, Pending, RealDisk, now_ms};
use crate::wire::remote_write::WriteRequest;
use unexpected::Unexpected;

pub use crate::forward::TargetStats;
pub use crate::log::{AppendError, LogStats};

/// What a pipeline is made of.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// The durable queue.
    pub queue: QueueConfig,
    /// Where to forward to; none is allowed.
    pub targets: Vec<RemoteWriteTarget>,
    /// `User-Agent` of requests, such as `sonde-agent/0.1.0`.
    pub user_agent: String,
}

/// Why a pipeline could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// A target cannot be used.
    #[error(transparent)]
    Target(#[from] ClientError),
    /// The directory cannot be owned.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A target's cursor cannot be opened.
    #[error("cannot open the cursor of target {target}")]
    Cursor {
        /// The target's name.
        target: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The directory or the log in it cannot be used.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// `create data directory` or `open the log in`.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What a pipeline holds and did, for `/status` and self-metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PipelineStats {
    /// The log.
    pub log: LogStats,
    /// Each target, by its name.
    pub targets: BTreeMap<String, TargetStats>,
}

/// A durable log with one forwarder per target.
#[derive(Debug)]
pub struct Pipeline {
    log: Arc<Log>,
    targets: Vec<(String, Arc<SharedStats>)>,
    tasks: TaskTracker,
    stop: CancellationToken,
    unexpected: Unexpected,
    // Every task holds it too: while anything of the pipeline lives the directory stays owned.
    _lock: Arc<DirLock>,
}

impl Pipeline {
    /// Locks the data directory, recovers what it holds, and starts forwarding.
    pub async fn open(config: PipelineConfig) -> Result<Self, OpenError> {
        let mut problems = config.queue.problems();
        problems.extend(problems_of_targets(&config.targets));
        problems.into_result()?;
        let (lock, log) = open_log(config.queue).await?;
        let log = Arc::new(log);
        // All consumers are known before any segment can be removed as delivered.
        let targets = open_targets(log.clone(), config.targets, config.user_agent).await?;
        Ok(Self::start(lock, log, targets))
    }

    fn start(lock: DirLock, log: Arc<Log>, targets: Vec<(Client, Consumer)>) -> Self {
        let (tasks, stop, unexpected) = (TaskTracker::new(), CancellationToken::new(), Unexpected::default());
        let lock = Arc::new(lock);
        let mut shown = Vec::new();
        for (client, consumer) in targets {
            let name = client.target().identity();
            let stats = Arc::new(SharedStats::new(client.target().shown_url()));
            let running = unexpected.watch(format!("the forwarder of target {name}"), &stop);
            shown.push((name, stats.clone()));
            let forwarder = Forwarder::new(client, stats, stop.clone());
            let lock = lock.clone();
            tasks.spawn(async move {
                let _held = (running, lock);
                forwarder.run(consumer).await;
            });
        }
        let ticking = log.clone();
        let running = unexpected.watch("the log's writer", &stop);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            let _running = running;
            // Ends with the writer.
            ticking.keep_bounds().await;
        }));
        tasks.close();
        Self { log, targets: shown, tasks, stop, unexpected, _lock: lock }
    }

    /// Resolves once a part of it has ended without being told to, with that part's name. From then on samples may
    /// stay undelivered, or not be taken, for as long as the process lives: it should end.
    pub async fn failed(&self) -> &str {
        self.unexpected.part().await
    }

    /// Appends a request. Resolves only after its record is on disk.
    pub async fn append(&self, request: WriteRequest) -> Result<(), AppendError> {
        let samples = request.sample_count();
        let payload = blocking::compute(request.encoded_len() as u64, move || request.to_snappy()).await;
        self.append_encoded(payload.into(), samples).await
    }

    /// Appends a request that is encoded already: protobuf in a snappy block, holding `samples`.
    pub async fn append_encoded(&self, payload: Bytes, samples: u64) -> Result<(), AppendError> {
        if self.stop.is_cancelled() {
            return Err(AppendError::Closed);
        }
        let samples = u32::try_from(samples).unwrap_or(u32::MAX);
        self.log.append(Pending { kind: Kind::RemoteWrite1, payload, samples, timestamp_ms: now_ms() }).await
    }

    /// What it holds and did.
    pub fn stats(&self) -> PipelineStats {
        let now = now_ms();
        let mut targets = BTreeMap::new();
        for (name, shared) in &self.targets {
            let (counted, backlog) = self.log.with_backlog(name, now, || shared.get());
            targets.insert(name.clone(), with_backlog(counted, &backlog));
        }
        PipelineStats { log: self.log.stats(now), targets }
    }

    /// Stops taking samples, and gives the log `deadline` to make durable what was taken and the forwarders to end
    /// their request under way. What is not delivered by then stays in the log.
    pub async fn shutdown(&self, deadline: Duration) {
        self.stop.cancel();
        // A disk that hangs must not hold up the end for ever.
        let end = async {
            self.log.close().await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(deadline, end).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "writes of the log or requests to targets still open at the deadline, dropped"
            );
        }
    }
}

impl Drop for Pipeline {
    /// Without a shutdown the tasks end as soon as they can, and leave to the next life what is in doubt.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A target's counts, with what the log knows of its consumer.
fn with_backlog(counted: TargetStats, backlog: &Backlog) -> TargetStats {
    let mut stats = TargetStats {
        pending_samples: backlog.samples,
        pending_bytes: backlog.bytes,
        lag_seconds: backlog.oldest_age_seconds,
        ..counted
    };
    for (reason, count) in [("damaged", backlog.lost_damaged), ("expired", backlog.lost_expired)] {
        if count > 0 {
            *stats.dropped_samples.entry(reason.into()).or_default() += count;
        }
    }
    stats
}

async fn open_log(queue: QueueConfig) -> Result<(DirLock, Log), OpenError> {
    let dir = queue.data_dir.clone();
    let open = move || {
        let io = |action, path: &PathBuf| {
            let path = path.clone();
            move |source| OpenError::Io { action, path, source }
        };
        std::fs::create_dir_all(&dir).map_err(io("create data directory", &dir))?;
        let lock = DirLock::take(&dir)?;
        let options = LogOptions::new(&dir, queue.max_bytes, queue.max_age);
        let log = Log::open(Arc::new(RealDisk), options).map_err(io("open the log in", &dir))?;
        Ok((lock, log))
    };
    blocking::run(open).await
}

/// Reads the files of all targets and opens their cursors, which waits for the disk.
async fn open_targets(
    log: Arc<Log>,
    targets: Vec<RemoteWriteTarget>,
    user_agent: String,
) -> Result<Vec<(Client, Consumer)>, OpenError> {
    let open = move |target: RemoteWriteTarget| {
        let name = target.identity();
        let client = Client::new(target, &user_agent)?;
        match log.consumer(&name) {
            Ok(consumer) => Ok((client, consumer)),
            Err(source) => Err(OpenError::Cursor { target: name, source }),
        }
    };
    let all = move || targets.into_iter().map(open).collect();
    blocking::run(all).await
}
