//! From settings to a running agent, and back.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use sonde_abi::budget::CONNS_MAX;
use tokio_util::sync::CancellationToken;

use crate::cloud;
use crate::config::{Config, Probe, Switch};
use crate::edges::Edges;
use crate::enrich::kubernetes::Watcher;
use crate::enrich::sources::NameSources;
use crate::enrich::systemd::Asker;
use crate::enrich::{Settings, Workloads, runtimes};
use crate::gpu::Gpus;
use crate::health::Board;
use crate::kernel::{FeatureId, FeatureStatus, Kernel, Options, Unwanted};
use crate::networks::NodeTotals;
use crate::node::interfaces::host_netns;
use crate::node::{NodeIdentity, NodeReader};
use crate::observer::{self, Parts};
use crate::registry::{Labels, SeriesCaps};
use crate::resources::{CgroupMounts, Controller};
use crate::shares::Shares;
use crate::state::{Connections, Datagrams, Limits, NAMES_MAX, Names};
use crate::translate::{Status, Translator};

/// Runs the agent until `stop` is cancelled, then ends it in order: programs see no more events, the ring is taken
/// empty, a last snapshot is pushed and durable, targets get the rest of the deadline.
///
/// # Errors
///
/// The listener or the durable queue cannot be opened, a probe that configuration demands does not work, or a task
/// ended that should not.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let mut edges = Edges::open(&config).await?;
    let kernel = Kernel::open(&kernel_options(&config));
    let translator = translator(&config);
    announce(kernel.features(), &translator.status());
    warn_unwatched(&kernel);
    demand(&config, kernel.features(), &translator.status())?;

    let detach = CancellationToken::new();
    // Cancelled also when the start or the edges fail.
    let _detach = detach.clone().drop_guard();
    let (inspector, inspecting) =
        runtimes::spawn(&config.proc_root, config.runtime_sockets.clone(), detach.clone());
    let board = Arc::new(Board::default());
    let identity = NodeIdentity::read(&config.proc_root);
    let (observer, handle) = observer::new(
        Parts {
            kernel,
            translator,
            totals: NodeTotals::new(config.networks.clone(), config.zone.clone()),
            connections: Connections::new(limits(&config)),
            datagrams: Datagrams::default(),
            names: Names::new(NAMES_MAX),
            workloads: Workloads::new(workload_settings(&config)),
            inspector,
            sources: name_sources(&config, &detach)?,
            node: NodeReader::new(
                &config.proc_root,
                cloud::spawn(&config.sys_root, &config.cloud, detach.clone()),
                Gpus::new(&config.proc_root, config.gpu_library.clone(), detach.clone()),
            ),
            board: board.clone(),
            edges: edges.stats(),
            common: common_labels(&identity),
            identity,
            proc_root: config.proc_root.clone(),
            listening: shares(&config).addresses,
            max_series: SeriesCaps { container: config.max_series_per_container, node: config.max_series },
            forget_after: config.forget_after,
        },
        detach.clone(),
    );
    if let Some(address) = edges.address() {
        tracing::info!(%address, "serving /metrics");
    }

    // The observer goes on until the edges have taken their last snapshot. When it ends before, the edges end with
    // it: whoever asks it then gets an error, and the process a chance to be restarted.
    let ended = stop.clone().drop_guard();
    // It reads files and walks over the kernel's lists, so it has a thread of its own and keeps nobody else waiting.
    let observing = tokio::task::spawn_blocking(move || {
        // Dropped by a panic as well.
        let _ended = ended;
        observer.run();
    });
    let deadline = edges.run(handle, board, &stop).await?;
    let early = observing.is_finished();
    detach.cancel();
    let observed = deadline.phase("detach every program", observing).await;
    deadline.phase("leave the container runtimes", inspecting).await;
    edges.close(deadline).await;
    match observed {
        Some(Err(error)) => Err(error).context("the event loop failed"),
        _ if early => bail!("the event loop ended by itself"),
        _ => Ok(()),
    }
}

/// What names workloads besides the runtimes.
pub(crate) fn name_sources(config: &Config, detach: &CancellationToken) -> anyhow::Result<NameSources> {
    let spawn = |settings| Watcher::spawn(settings, detach.clone());
    let kubernetes = config.kubernetes.clone().map(spawn).transpose();
    Ok(NameSources {
        systemd: Asker::new(&config.proc_root, detach.clone()),
        kubernetes: kubernetes.map_err(anyhow::Error::msg).context("ask Kubernetes about pods")?,
    })
}

fn tells_zones(config: &Config) -> bool {
    config.zone.is_some() || !config.networks.is_empty()
}

/// What the loader needs to know of the settings.
pub fn kernel_options(config: &Config) -> Options {
    let mounts = CgroupMounts::discover(&config.proc_root, &config.cgroup_root);
    let disabled = |id: &FeatureId| {
        let (probe, _) = id.names();
        let probe = Probe::named(probe)?;
        let reason = match config.probes.get(probe) {
            Switch::Off if probe.is_optional() => Unwanted::Because("off unless asked for"),
            Switch::Off => Unwanted::Disabled,
            Switch::Auto if *id == FeatureId::DiskIo && crate::enrich::counts_disks(&mounts) => {
                Unwanted::Because("cgroup files count it here")
            }
            // It costs every packet, those of TCP included, and tells nothing without zones.
            Switch::Auto if *id == FeatureId::UdpPeers && !tells_zones(config) => {
                Unwanted::Because("no --network and no --zone tells zones apart")
            }
            Switch::On | Switch::Auto => return None,
        };
        Some((*id, reason))
    };
    Options {
        btf: config.btf.clone(),
        cgroup_v1: mounts.v1(Controller::Memory).is_some(),
        cgroup_v2: mounts.v2().map(Path::to_owned),
        disabled: FeatureId::ALL.iter().filter_map(disabled).collect(),
        statistics: config.program_statistics,
        refused: refused(),
    }
}

/// Programs that a test has the kernel refuse; see docs/architecture.md.
fn refused() -> Vec<String> {
    let value = std::env::var("SONDE_REFUSE").unwrap_or_default();
    value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The translator that the settings ask for.
pub fn translator(config: &Config) -> Translator {
    match config.probes.get(Probe::Net) {
        Switch::Off => Translator::disabled(),
        Switch::On | Switch::Auto => Translator::open(&config.proc_root),
    }
}

/// One line per feature, so that a log alone answers what this agent sees.
fn announce(features: &[FeatureStatus], translation: &[Status]) {
    let kernel = features.iter().map(|feature| (feature.name.as_str(), &feature.verdict, feature.without));
    let others = translation.iter().map(|status| (status.name, &status.verdict, status.without));
    for (name, verdict, without) in kernel.chain(others) {
        let detail = verdict.detail();
        // What nobody asked for is no warning.
        match without.filter(|_| verdict.name() != "disabled") {
            None => tracing::info!(%name, verdict = verdict.name(), %detail, "probe"),
            Some(without) => tracing::warn!(%name, verdict = verdict.name(), %detail, %without, "probe"),
        }
    }
}

/// What an optional probe costs is known from the kernel's statistics alone.
fn warn_unwatched(kernel: &Kernel) {
    let is_running = |feature: &&FeatureStatus| feature.id.is_optional() && feature.verdict.is_ok();
    let running: Vec<&str> =
        kernel.features().iter().filter(is_running).map(|feature| feature.name.as_str()).collect();
    let statistics = kernel.stats_verdict();
    if !running.is_empty() && !statistics.is_ok() {
        let (probes, detail) = (running.join(", "), statistics.detail());
        tracing::warn!(%probes, %detail, "what optional probes cost is not measured: none is ever given up");
    }
}

/// A probe that is `on` must work; one that is `auto` may be missing.
fn demand(config: &Config, features: &[FeatureStatus], translation: &[Status]) -> anyhow::Result<()> {
    let kernel = features.iter().map(|feature| (feature.name.as_str(), &feature.verdict));
    let others = translation.iter().map(|status| (status.name, &status.verdict));
    for (name, verdict) in kernel.chain(others).filter(|(_, verdict)| !verdict.is_ok()) {
        let probe = name.split('/').next().and_then(Probe::named);
        if probe.is_some_and(|probe| config.probes.get(probe) == Switch::On) {
            bail!("probe {name} is on but does not work: {}", verdict.detail());
        }
    }
    Ok(())
}

fn shares(config: &Config) -> Shares {
    Shares::new(config.max_series_per_container, config.max_series)
}

fn limits(config: &Config) -> Limits {
    let Shares { flows, failures, backlogs, round_trips, .. } = shares(config);
    Limits {
        connections: CONNS_MAX,
        listeners: LISTENERS_MAX,
        flows,
        failures,
        backlogs,
        round_trips,
        ephemeral_ports: config.ephemeral_ports.clone(),
        loopback_of: if config.container_loopback { None } else { host_netns(&config.proc_root) },
    }
}

/// Listening sockets that are shown at once; a host with a service per port of the ephemeral range stays below.
const LISTENERS_MAX: usize = 32_768;

fn workload_settings(config: &Config) -> Settings {
    Settings {
        allow: config.container_allow.clone(),
        deny: config.container_deny.clone(),
        min_age: config.min_container_age,
        hide_system_services: config.hide_system_services,
        keep_gone: config.forget_after,
        ..Settings::new(&config.proc_root, &config.cgroup_root)
    }
}

fn common_labels(identity: &NodeIdentity) -> Arc<Labels> {
    Labels::new([
        ("machine_id", identity.machine_id.as_str()),
        ("system_uuid", identity.system_uuid.as_str()),
    ])
}
