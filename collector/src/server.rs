//! The collector as a program: configuration, wiring, life cycle.

mod config;
mod inspect;
mod options;
mod reference;
mod routes;
mod signals;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use inspect::print_inspection;
pub use options::{Command, CommandLine, Options};
pub use reference::reference;
pub use signals::stop_on_signals;

use crate::http::Listener;
use crate::ingest::{ApiKeys, Ingest, IngestConfig, Limits};
use crate::pipeline::{Pipeline, PipelineConfig};

/// Time for requests to targets that are under way when the stop is asked for.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Runs until `stop`: then no request is taken any more, those taken are ended, and what was taken is durable.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let keys = config.api_keys.as_deref().map(ApiKeys::read).transpose()?.unwrap_or_default();
    let listener = Listener::bind(config.listen.clone()).await?;
    let pipeline = Pipeline::open(PipelineConfig {
        queue: config.queue,
        targets: config.remote_write,
        user_agent: concat!("sonde-collector/", env!("CARGO_PKG_VERSION")).into(),
    });
    let pipeline = Arc::new(pipeline.await.context("open the pipeline")?);
    let ingest_config = IngestConfig { keys, tenant_label: config.tenant_label, limits: Limits::default() };
    let ingest = Ingest::new(ingest_config, pipeline.clone());
    let router = ingest.router().merge(routes::router(ingest, pipeline.clone()));
    tracing::info!(address = %listener.local_addr(), "listening");
    listener.serve(router, stop).await;
    tracing::info!("stopping");
    pipeline.shutdown(SHUTDOWN_DEADLINE).await;
    tracing::info!("stopped");
    Ok(())
}
