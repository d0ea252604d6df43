//! What is around the probes: the machine's files, its cloud and GPUs, and who else names workloads. Looked at by what
//! the running agent uses, so that the reasons have the same words as those of `/status`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::cloud;
use crate::config::Config;
use crate::enrich::sources::NameSources;
use crate::gpu::Gpus;
use crate::health::Absent;
use crate::node::NodeReader;
use crate::observer::now;

/// How long those who are asked may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks at what they have answered.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long what hangs may still take when everything was said.
const LEFTOVERS: Duration = Duration::from_millis(100);

/// Adds the metrics that are absent, and returns what is known of those who name workloads.
///
/// # Errors
/// When they cannot be asked at all.
pub(super) fn look(config: &Config, absent: &mut Absent) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    let names = runtime.block_on(async {
        let stop = CancellationToken::new();
        let _ends = stop.clone().drop_guard();
        let mut sources = crate::run::name_sources(config, &stop)?;
        let mut node = NodeReader::new(
            &config.proc_root,
            cloud::spawn(&config.sys_root, &config.cloud, stop.clone()),
            Gpus::new(&config.proc_root, config.gpu_library.clone(), stop.clone()),
        );
        sources.systemd.probe();
        node.read(now());
        wait(&sources, &node).await;
        node.absent(absent);
        Ok(sources.status())
    });
    runtime.shutdown_timeout(LEFTOVERS);
    names
}

async fn wait(sources: &NameSources, node: &NodeReader) {
    let deadline = Instant::now() + PATIENCE;
    while !(sources.is_settled() && node.is_settled()) && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
