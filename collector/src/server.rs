//! The collector as a program: configuration, wiring, life cycle.

mod config;
mod inspect;
mod options;
mod reference;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use inspect::print_inspection;
pub use options::{Command, CommandLine, Options};
pub use reference::reference;

use crate::http::Listener;
use crate::ingest::{ApiKeys, Ingest, IngestConfig, Limits};
use crate::pipeline::{Pipeline, PipelineConfig};

/// Time for requests to targets that are under way when the stop is asked for.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Runs until `stop`: then no request is taken any more, those taken are ended, and what was taken is durable.
///
/// # Errors
///
/// It cannot begin to serve, or a part of the pipeline ended without being told to.
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
    let failed = serve(listener, router, &pipeline, &stop).await;
    pipeline.shutdown(SHUTDOWN_DEADLINE).await;
    tracing::info!("stopped");
    failed.map_or(Ok(()), |part| bail!("{part} ended by itself"))
}

/// Serves until `stop`, or until a part of the pipeline fails, whose name is returned.
async fn serve(
    listener: Listener,
    router: Router,
    pipeline: &Pipeline,
    stop: &CancellationToken,
) -> Option<String> {
    let serving = stop.child_token();
    let watch = async {
        let failed = serving.run_until_cancelled(pipeline.failed()).await;
        serving.cancel();
        failed.map(str::to_owned)
    };
    tokio::join!(watch, listener.serve(router, serving.clone())).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ListenConfig;

    #[tokio::test]
    async fn the_program_ends_with_its_pipeline() {
        let (pipeline, disk) = Pipeline::on_sim_disk(&["t"]).await;
        let listener = Listener::bind(ListenConfig::new(([127, 0, 0, 1], 0).into())).await.unwrap();
        disk.break_down();
        let stop = CancellationToken::new();
        let serving = serve(listener, Router::new(), &pipeline, &stop);
        let failed = tokio::time::timeout(Duration::from_secs(30), serving).await.expect("it still serves");
        assert_eq!(failed.as_deref(), Some("the forwarder of target t"));
    }
}
