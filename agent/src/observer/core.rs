//! What the event loop does, without the waiting.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    clock, datagrams,
    filling::Filling,
    latency::LatencyLabels,
    listening::Listening,
    measured, names,
    namespaces::Namespaces,
    optional::Optional,
    peers::{self, Peers},
    processes,
    series::SeriesLabels,
    suspects::Suspects,
    traffic,
    unfiled::Unfiled,
};
use crate::edges::EdgeStats;
use crate::enrich::runtimes::Inspector;
use crate::enrich::sources::NameSources;
use crate::enrich::{Hierarchy, Workloads, netns};
use crate::gpu;
use crate::health::{Absent, Board, Look};
use crate::kernel::{FeatureId, Kernel};
use crate::model::{BootNanos, HostPid, Role, TcpSocket, UnixMillis};
use crate::networks::NodeTotals;
use crate::node::{self, NodeIdentity, NodeReader};
use crate::pace::Pace;
use crate::probes::{self, Event, cgroup::CgroupEvent};
use crate::registry::{Labels, Rejections, SeriesCaps, Snapshot, SnapshotBuilder};
use crate::resources::DiskNames;
use crate::state::{Caps, Connections, Datagrams, Measurements, Names};
use crate::telemetry::{QueueFill, Telemetry};
use crate::translate::Translator;

/// Events taken before anything else gets its turn.
const DRAIN_BUDGET: usize = 20_000;
/// Events decoded before they are handled, so that the kernel is asked at once where all their connections lead.
const BATCH: usize = 1000;
/// Time between two looks at what should be forgotten, and at everything if nobody asks.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How long the two halves may disagree about a connection before it counts as lost: longer than any handshake or
/// lingering close.
const DISAGREEMENT: Duration = Duration::from_secs(900);

/// Everything the loop owns or shares.
pub struct Parts {
    /// The kernel half.
    pub kernel: Kernel,
    /// What knows where connections lead.
    pub translator: Translator,
    /// What the whole node sends and receives.
    pub totals: NodeTotals,
    /// Connections and flows.
    pub connections: Connections,
    /// What is sent over UDP.
    pub datagrams: Datagrams,
    /// Names of addresses.
    pub names: Names,
    /// Containers, services, executables.
    pub workloads: Workloads,
    /// The task that asks container runtimes.
    pub inspector: Inspector,
    /// What else names workloads.
    pub sources: NameSources,
    /// The machine.
    pub identity: NodeIdentity,
    /// The machine's numbers.
    pub node: NodeReader,
    /// What `/status` and the health pages show.
    pub board: Arc<Board>,
    /// What the HTTP server and the push path count.
    pub edges: EdgeStats,
    /// Labels that every series carries.
    pub common: Arc<Labels>,
    /// The host's procfs.
    pub proc_root: PathBuf,
    /// Listening addresses shown; more are folded into one per workload.
    pub listening: Caps,
    /// Series of a container, and of all together; what is beyond is left out.
    pub max_series: SeriesCaps,
    /// A flow without open connections is dropped after this long without an event.
    pub forget_after: Duration,
}

/// The loop's state.
pub struct Core {
    pub(super) parts: Parts,
    pub(super) telemetry: Telemetry,
    pub(super) measurements: Measurements,
    optional: Optional,
    peers: Peers,
    series: SeriesLabels,
    latency: LatencyLabels,
    listening: Listening,
    rejections: Rejections,
    last: Option<(Instant, Arc<Snapshot>)>,
    last_at: UnixMillis,
    /// When everything was last looked at.
    observed: BootNanos,
    pub(super) unfiled: Unfiled,
    suspects: Suspects,
    filling: Arc<Filling>,
    /// Of the work that goes on.
    pub(super) pace: Pace,
}

impl Core {
    /// Takes the first look at everything, so that what is open now is a baseline: without pauses, since whoever accepts
    /// meanwhile is to be found before what was accepted ends. While a ring is filling, later work makes none either.
    pub(super) fn new(parts: Parts, filling: Arc<Filling>) -> Self {
        let mut core = Self {
            telemetry: Telemetry::new(clock::unix()),
            measurements: Measurements::default(),
            optional: Optional::default(),
            peers: Peers::default(),
            series: SeriesLabels::default(),
            latency: LatencyLabels::default(),
            listening: Listening::new(Namespaces::new(&parts.proc_root), parts.listening, parts.forget_after),
            rejections: Rejections::default(),
            last: None,
            last_at: UnixMillis::default(),
            observed: BootNanos(0),
            unfiled: Unfiled::default(),
            suspects: Suspects::default(),
            pace: Pace::new(filling.flag()),
            filling,
            parts,
        };
        core.learn_host_addresses();
        // Who listens comes first: what was accepted since the programs were attached belongs to a listener.
        core.pass_files();
        core.observe();
        core.publish();
        core
    }

    /// Whether the cloud has told what it will tell, if the machine is in one.
    pub fn knows_cloud(&self) -> bool {
        self.parts.node.knows_cloud()
    }

    /// Says that series can be asked for.
    pub fn open(&self) {
        self.parts.board.open();
    }

    /// Time between two looks at what should be forgotten: often enough to keep to the time for that.
    pub fn sweep_interval(&self) -> Duration {
        SWEEP_EVERY.min(self.parts.forget_after / 2)
    }

    /// The regular visit: events, answers of runtimes, questions to them.
    pub fn tick(&mut self) {
        self.drain();
        if datagrams::is_pressing(&self.parts.datagrams) {
            self.pace.begin();
            self.read_datagrams();
        }
        self.peers.tick(&mut self.parts.kernel, &mut self.parts.totals);
        self.talk_to_runtimes();
        self.parts.translator.tick(clock::boot());
        self.parts.board.beat();
    }

    /// Takes events until the ring is empty or the budget used up.
    pub fn drain(&mut self) {
        for _ in 0..DRAIN_BUDGET / BATCH {
            let mut events = Vec::new();
            let telemetry = &mut self.telemetry;
            let taken = self.parts.kernel.drain(BATCH, |bytes| match probes::decode(bytes) {
                Ok(event) => events.push(event),
                Err(error) => telemetry.count_decode_error(error),
            });
            self.handle(events);
            if taken < BATCH {
                break;
            }
        }
        self.filling.looked();
    }

    fn handle(&mut self, mut events: Vec<Event>) {
        let now = clock::boot();
        let Self { parts, telemetry, measurements, .. } = self;
        let Parts {
            kernel, connections, datagrams: table, names: known, workloads, translator, totals, ..
        } = parts;
        for event in &events {
            if let Event::Tcp(socket) = event {
                learn_address(connections, totals, socket, now);
            }
        }
        let sockets = events.iter_mut().filter_map(|event| match event {
            Event::Tcp(socket) => Some(socket),
            _ => None,
        });
        let process = |socket: &TcpSocket| workloads.process_of(socket.origin.as_ref()?);
        translator.translate(sockets, process, now);
        // After the events were taken and before they are looked at: whoever connected had its answer by then.
        names::drain(kernel, known, telemetry);
        for event in events {
            match event {
                Event::Tcp(mut socket) => {
                    telemetry.count_event(socket.kind.as_str());
                    names::name(known, &mut socket);
                    handle_socket(connections, workloads, totals, socket, now);
                }
                Event::Udp(socket) => {
                    telemetry.count_event(datagrams::event_name(socket.kind));
                    datagrams::handle(table, workloads, &socket, now);
                }
                Event::Cgroup(event) => {
                    telemetry.count_event(if event.created { "cgroup_created" } else { "cgroup_removed" });
                    handle_cgroup(workloads, &event);
                }
                Event::Process(event) => {
                    telemetry.count_event(processes::handle(workloads, measurements, &event, now));
                }
            }
        }
    }

    /// A snapshot not older than `max_age`. `waiting` is the queue of those who ask for one.
    pub fn snapshot(&mut self, max_age: Duration, waiting: QueueFill) -> Arc<Snapshot> {
        if let Some((taken, snapshot)) = &self.last
            && taken.elapsed() <= max_age
        {
            return snapshot.clone();
        }
        let start = Instant::now();
        self.pace.begin();
        self.observe();
        let snapshot = Arc::new(self.build(waiting));
        self.telemetry.snapshot_duration(start.elapsed());
        self.last = Some((start, snapshot.clone()));
        self.publish();
        snapshot
    }

    /// Looks at everything when nobody has asked for a while, and forgets what is over: idle flows, workloads that are
    /// gone, connections whose end was missed.
    pub fn sweep(&mut self) {
        self.pace.begin();
        self.learn_host_addresses();
        if self.observed <= before(clock::boot(), self.sweep_interval() / 2) {
            self.observe();
        }
        let now = clock::boot();
        self.parts.totals.expire(now);
        let Self { parts, telemetry, series, suspects, pace, .. } = self;
        let retired = parts.workloads.retired(now);
        parts.connections.collect_garbage(before(now, parts.forget_after), &retired);
        self.measurements.forget(&retired);
        parts.datagrams.drop_workloads(&retired);
        names::forget(&mut parts.names, &parts.connections, now);
        self.optional.forget(&retired);
        series.retain(&parts.connections);
        let tracked = parts.kernel.tracked_sockets(pace);
        telemetry.tracked_connections(tracked.len());
        let unknown = parts.connections.sweep(&tracked, before(now, DISAGREEMENT));
        for sock in suspects.update(&unknown, now, before(now, DISAGREEMENT)) {
            parts.kernel.forget_socket(sock);
        }
        self.publish();
    }

    /// Traffic to the host's own addresses leaves nothing. Without them, those that sockets have are known.
    fn learn_host_addresses(&mut self) {
        let Parts { totals, proc_root, .. } = &mut self.parts;
        if let Ok(addresses) = netns::local_addresses(proc_root, HostPid(1)) {
            totals.set_host_addresses(addresses);
        }
    }

    /// Reads every source once. Events first and last: a connection that opens or closes during the pass is then told
    /// by both sources, and the tables make one of it.
    fn observe(&mut self) {
        self.observed = clock::boot();
        peers::take(&mut self.parts.kernel, &mut self.parts.totals);
        self.peers.turn(&mut self.parts.kernel, &mut self.parts.totals);
        self.drain();
        self.talk_to_runtimes();
        self.pass_tasks();
        self.drain();
        self.pass_files();
        self.read_datagrams();
        peers::take(&mut self.parts.kernel, &mut self.parts.totals);
        self.drain();
        let now = clock::boot();
        self.optional.observe(&mut self.parts.kernel, &mut self.parts.workloads, now);
        self.optional.watch(&mut self.parts.kernel, now);
    }

    /// Empties the kernel half's counters.
    fn read_datagrams(&mut self) {
        let Self { parts, telemetry, pace, .. } = self;
        datagrams::read(parts, telemetry, pace);
    }

    fn talk_to_runtimes(&mut self) {
        let now = clock::boot();
        let Parts { inspector, sources, workloads, connections, datagrams, .. } = &mut self.parts;
        workloads.set_unix_time(clock::unix());
        sources.exchange(workloads, now);
        workloads.take_hints(now);
        while let Some((container, answer)) = inspector.try_answer() {
            if let Some(merged) = workloads.handle_inspected(container, answer, now) {
                connections.merge_workload(merged.from, merged.into);
                self.measurements.merge(merged.from, merged.into);
                datagrams.merge_workload(merged.from, merged.into);
                self.optional.merge(merged.from, merged.into);
            }
        }
        inspector.ask_all(workloads);
    }

    fn build(&mut self, waiting: QueueFill) -> Snapshot {
        let now = clock::boot();
        let parts = &mut self.parts;
        let rejections = std::mem::take(&mut self.rejections);
        let mut builder = SnapshotBuilder::after(rejections)
            .limited_to(parts.max_series)
            .with_pauses(self.pace.clone())
            .with_container_labels(parts.node.container_labels());
        let machine = parts.node.read(now);
        if let Some(cloud) = &machine.cloud {
            parts.totals.set_cloud_zone(&cloud.availability_zone);
        }
        node::emit(&mut builder, &parts.identity, &machine);
        gpu::emit_containers(&mut builder, &machine.gpus, &mut parts.workloads, &parts.proc_root, now);
        let measured = measured::View::new(&self.measurements, &parts.kernel, &parts.workloads);
        parts.workloads.collect(&mut builder, &measured, now);
        let view = traffic::View {
            connections: &parts.connections,
            names: &parts.names,
            workloads: &parts.workloads,
            counts_connects: parts.kernel.has(FeatureId::TcpLifecycle),
            now,
        };
        view.flows(&mut self.series, &mut builder);
        view.failures(&mut self.series, &mut builder);
        self.listening.collect(&view, &mut builder);
        self.latency.collect(parts.connections.round_trips(), &parts.workloads, &mut builder, now);
        datagrams::emit(&parts.datagrams, &parts.workloads, now, &mut builder);
        datagrams::emit_stats(&parts.datagrams, &mut builder);
        names::emit(&parts.names, &parts.connections, &mut builder);
        let disks = DiskNames::read(&parts.proc_root);
        self.optional.collect(&parts.kernel, &parts.workloads, &disks, &mut builder, now);
        parts.edges.collect(&mut builder);
        parts.translator.collect(&mut builder);
        parts.totals.collect(&mut builder);
        self.telemetry.collect_kernel(&mut parts.kernel, &mut builder);
        self.telemetry.collect_tables(&parts.connections, &parts.workloads.stats(), &mut builder);
        self.telemetry.collect(parts.node.failures(), &mut builder);
        waiting.collect("snapshot_requests", &mut builder);
        parts.inspector.collect(&mut builder);
        parts.sources.collect(&parts.workloads.stats(), &mut builder);
        self.last_at = next_timestamp(self.last_at, clock::unix());
        let snapshot = builder.build(self.last_at, parts.common.clone());
        self.rejections = snapshot.rejections;
        snapshot
    }

    fn publish(&mut self) {
        let Self { parts, last, .. } = self;
        let Parts {
            kernel, connections, workloads, inspector, sources, board, edges, translator, node, ..
        } = parts;
        let mut absent = Absent::default();
        absent.push_features(kernel.features());
        workloads.absent(&mut absent);
        node.absent(&mut absent);
        let absent = match last {
            Some((_, snapshot)) => absent.without_those_in(snapshot),
            None => absent,
        };
        board.publish(&Look {
            kernel,
            translation: &translator.status(),
            connections,
            workloads: &workloads.stats(),
            runtimes: &inspector.status(),
            names: sources.status(),
            absent: &absent,
            push: edges.status(),
        });
    }
}

/// Two snapshots never share a timestamp: a target would refuse the second one's samples. But a clock that was set back by
/// more than a moment is believed.
fn next_timestamp(last: UnixMillis, now: UnixMillis) -> UnixMillis {
    const MOMENT_MS: i64 = 1_000;
    if now.0 > last.0 || last.0 - now.0 > MOMENT_MS { now } else { UnixMillis(last.0 + 1) }
}

/// So long before a moment.
pub(super) fn before(now: BootNanos, duration: Duration) -> BootNanos {
    now.before(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Finds the socket's owner and hands both to the tables.
pub(super) fn handle_socket(
    connections: &mut Connections,
    workloads: &mut Workloads,
    totals: &mut NodeTotals,
    socket: TcpSocket,
    now: BootNanos,
) {
    let claim = socket.origin.as_ref().map(|origin| workloads.claim(origin, now)).unwrap_or_default();
    learn_address(connections, totals, &socket, now);
    connections.handle(socket, claim, totals);
}

/// A socket's address is one of this machine. Not so where nobody listens: what a transparent proxy accepts bears the
/// address that its client asked for, which may be anywhere.
fn learn_address(connections: &Connections, totals: &mut NodeTotals, socket: &TcpSocket, now: BootNanos) {
    let listens = || connections.listeners().find(socket.netns, socket.local).is_some();
    if socket.role != Role::Inbound || listens() {
        totals.learn(socket.local.ip(), now);
    }
}

fn handle_cgroup(workloads: &mut Workloads, event: &CgroupEvent) {
    let hierarchy = if event.v1 { Hierarchy::V1 } else { Hierarchy::V2 };
    match (event.created, &event.path) {
        (true, Some(path)) => workloads.handle_cgroup_created(hierarchy, event.id, path),
        // The next rescan will find it.
        (true, None) => {}
        (false, _) => workloads.handle_cgroup_removed(hierarchy, event.id),
    }
}
