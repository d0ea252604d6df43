//! The edges put together: who may ask over HTTP, and where snapshots are pushed to.
//!
//! [`Edges::open`] does all that can fail (bind, lock, recover) before anything is attached to the kernel;
//! [`Edges::run`] serves and pushes until it is told to stop; [`Edges::close`] ends the queue, last of all. Without a
//! target there is no queue, and nothing is written to disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use sonde_collector::http::{ListenConfig, Listener};
use sonde_collector::{Pipeline, PipelineConfig};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::push;
use crate::registry::{SnapshotBuilder, Source};
use crate::serve::{self, Health};
use crate::shutdown::Deadline;

/// How the agent names itself to targets.
const USER_AGENT: &str = concat!("sonde-agent/", env!("CARGO_PKG_VERSION"));

/// The HTTP server and the push path, ready to run.
pub struct Edges {
    listener: Option<Listener>,
    stats: EdgeStats,
    scrape_interval: Duration,
    shutdown_timeout: Duration,
}

/// What the edges know about themselves; whoever makes snapshots holds a copy.
#[derive(Clone, Default)]
pub struct EdgeStats {
    serve: Arc<serve::Stats>,
    push: Arc<push::Stats>,
    pipeline: Option<Arc<Pipeline>>,
}

impl EdgeStats {
    /// Adds the series.
    pub fn collect(&self, builder: &mut SnapshotBuilder) {
        self.serve.collect(builder);
        if let Some(pipeline) = &self.pipeline {
            self.push.collect(builder);
            push::collect_pipeline(&pipeline.stats(), builder);
        }
    }

    /// The queue and its targets for `/status`; null without a target.
    pub fn status(&self) -> serde_json::Value {
        let status = |pipeline: &Arc<Pipeline>| {
            let stats = pipeline.stats();
            serde_json::json!({ "ticks": self.push.status(), "queue": stats.log, "targets": stats.targets })
        };
        self.pipeline.as_ref().map_or(serde_json::Value::Null, status)
    }

    /// Resolves when a part of the queue ended without being told to, with its name; never without a queue.
    async fn queue_failed(&self) -> &str {
        match &self.pipeline {
            Some(pipeline) => pipeline.failed().await,
            None => std::future::pending().await,
        }
    }
}

impl Edges {
    /// Binds the address and, with a target, opens the queue.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        // A request that is open when the stop comes must not outlast the whole end.
        let listen = ListenConfig { drain_timeout: config.shutdown_timeout / 2, ..config.listen.clone() };
        let listener = Listener::bind(listen).await?;
        let pipeline =
            if config.targets.is_empty() { None } else { Some(Arc::new(open_queue(config).await?)) };
        Ok(Self {
            listener: Some(listener),
            stats: EdgeStats { pipeline, ..EdgeStats::default() },
            scrape_interval: config.scrape_interval,
            shutdown_timeout: config.shutdown_timeout,
        })
    }

    /// The address bound, with the port that was chosen; `None` once [`Edges::run`] has taken it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(Listener::local_addr)
    }

    /// What the edges know about themselves.
    pub fn stats(&self) -> EdgeStats {
        self.stats.clone()
    }

    /// Serves and pushes until `stop`, then pushes once more and lets open requests end. Returns the deadline of the
    /// end, of which the other phases get the rest.
    ///
    /// # Errors
    /// When serving, pushing or a part of the queue ended without being told to.
    pub async fn run<S>(
        &mut self,
        source: S,
        health: Arc<dyn Health>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Deadline>
    where
        S: Source + Clone,
    {
        let mut tasks = self.spawn(source, health, stop).context("the edges ran already")?;
        let early = stop.run_until_cancelled(early_end(&mut tasks, self.stats.queue_failed())).await;
        let deadline = Deadline::after(self.shutdown_timeout);
        match early {
            Some(Ok(part)) if !stop.is_cancelled() => bail!("{part} ended by itself"),
            Some(Err(error)) => return Err(error).context("a task of the edges ended by itself"),
            _ => {}
        }
        deadline.phase("end of serving and pushing", end(&mut tasks)).await;
        Ok(deadline)
    }

    /// Ends the queue: what was appended is durable; what was not delivered waits for the next start.
    pub async fn close(self, deadline: Deadline) {
        if let Some(pipeline) = &self.stats.pipeline {
            deadline.phase("end of the queue", pipeline.shutdown(deadline.remaining())).await;
        }
    }

    fn spawn<S>(
        &mut self,
        source: S,
        health: Arc<dyn Health>,
        stop: &CancellationToken,
    ) -> Option<JoinSet<&'static str>>
    where
        S: Source + Clone,
    {
        let listener = self.listener.take()?;
        let mut tasks = JoinSet::new();
        let router = serve::router(source.clone(), health, self.stats.serve.clone());
        let serving = listener.serve(router, stop.clone());
        tasks.spawn(async {
            serving.await;
            "serve"
        });
        if let Some(pipeline) = self.stats.pipeline.clone() {
            let pushing =
                push::run(source, pipeline, self.scrape_interval, self.stats.push.clone(), stop.clone());
            tasks.spawn(async {
                pushing.await;
                "push"
            });
        }
        Some(tasks)
    }
}

async fn open_queue(config: &Config) -> anyhow::Result<Pipeline> {
    let queue = PipelineConfig {
        queue: config.queue.clone(),
        targets: config.targets.clone(),
        user_agent: USER_AGENT.to_owned(),
    };
    Pipeline::open(queue).await.context("open the queue")
}

/// The name of the first part that ends, be it a task or one of the queue's; an error when a task failed.
async fn early_end(
    tasks: &mut JoinSet<&'static str>,
    queue_failed: impl Future<Output = &str>,
) -> Result<String, JoinError> {
    tokio::select! {
        Some(ended) = tasks.join_next() => ended.map(|name| format!("task `{name}`")),
        part = queue_failed => Ok(part.to_owned()),
    }
}

async fn end(tasks: &mut JoinSet<&'static str>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the edges failed at the end");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::model::UnixMillis;
    use crate::registry::{Labels, Snapshot, SourceGone};

    #[derive(Clone)]
    struct Empty;

    impl Source for Empty {
        async fn snapshot(&self, _max_age: Duration) -> Result<Arc<Snapshot>, SourceGone> {
            Ok(Arc::new(SnapshotBuilder::default().build(UnixMillis(1), Labels::empty())))
        }
    }

    struct Well;

    impl Health for Well {
        fn alive(&self) -> Result<(), String> {
            Ok(())
        }

        fn ready(&self) -> Result<(), String> {
            Ok(())
        }

        fn status(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
    }

    fn config(data_dir: &Path, more: &[&str]) -> Config {
        let data_dir = data_dir.display().to_string();
        let given = ["sonde-agent", "--listen", "127.0.0.1:0", "--data-dir", &data_dir];
        crate::config::read(given.iter().chain(more).map(OsString::from), |_| None).unwrap().1
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        get_as(address, path, "").await
    }

    async fn get_as(address: SocketAddr, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn without_a_target_metrics_are_served_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let mut edges = Edges::open(&config(&data_dir, &[])).await.unwrap();
        let address = edges.address().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let asker = tokio::spawn(async move {
            let answer = get(address, "/metrics").await;
            stopped.cancel();
            answer
        });
        let deadline = edges.run(Empty, Arc::new(Well), &stop).await.unwrap();
        let answer = asker.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("sonde_agent_series "), "{answer}");
        assert_eq!(edges.stats().status(), serde_json::Value::Null);
        edges.close(deadline).await;
        assert!(!data_dir.exists());
        assert!(TcpStream::connect(address).await.is_err(), "the port is still open");
    }

    #[tokio::test]
    async fn credentials_are_demanded_of_all_but_health_checks() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth");
        std::fs::write(&file, "bearer hunter2\n").unwrap();
        let given = ["--listen-auth", file.to_str().unwrap()];
        let mut edges = Edges::open(&config(directory.path(), &given)).await.unwrap();
        let address = edges.address().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let asker = tokio::spawn(async move {
            let known = "Authorization: Bearer hunter2\r\n";
            let answers = [
                get(address, "/metrics").await,
                get(address, "/status").await,
                get(address, "/readyz").await,
                get_as(address, "/metrics", known).await,
            ];
            stopped.cancel();
            answers.map(|answer| answer.split(' ').nth(1).unwrap().to_owned())
        });
        edges.run(Empty, Arc::new(Well), &stop).await.unwrap();
        assert_eq!(asker.await.unwrap(), ["401", "401", "200", "200"]);
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_named() {
        let mut tasks = JoinSet::new();
        tasks.spawn(std::future::pending());
        let failed = std::future::ready("the log's writer");
        assert_eq!(early_end(&mut tasks, failed).await.unwrap(), "the log's writer");
        tasks.spawn(std::future::ready("push"));
        assert_eq!(early_end(&mut tasks, std::future::pending()).await.unwrap(), "task `push`");
    }

    #[tokio::test]
    async fn an_address_in_use_is_one_clear_message() {
        let directory = tempfile::tempdir().unwrap();
        let first = Edges::open(&config(directory.path(), &[])).await.unwrap();
        let address = first.address().unwrap().to_string();
        let Err(error) = Edges::open(&config(directory.path(), &["--listen", &address])).await else {
            panic!("bound twice")
        };
        assert!(format!("{error:#}").starts_with(&format!("cannot listen on {address}: ")), "{error:#}");
    }
}
