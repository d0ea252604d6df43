//! The kernel: loading programs, reading rings, iterators and counters. The only module that imports aya.
//!
//! [`Kernel::open`] never fails as a whole. Each feature walks its own chain of choices; what cannot be had is a
//! [`Verdict`] with the kernel's reason, and costs that feature only.

#![expect(unsafe_code, reason = "raw system calls that aya 0.14 does not offer")]

mod attach;
pub mod btf;
pub mod capabilities;
mod drops;
mod feature;
mod heap;
mod iterator;
mod latency;
mod object;
mod offsets;
mod peers;
mod ring;
mod signature;
mod stats;
mod tracefs;
mod turns;

use std::{io, num::NonZeroUsize, os::fd::OwnedFd, path::PathBuf};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray},
};

use sonde_abi::{
    block::{BioCounts, BioKey},
    budget::{ANSWERS_BYTES, EVENTS_BYTES},
    latency::{DiskLatencyKey, Latency, RunQueueKey},
    process::{Exited, OwnerKey},
    udp::{PeerBytes, PeerKey},
};

use crate::pace::Pace;

pub use feature::{Choice, FeatureId, FeatureStatus, Verdict};
pub use latency::Keep;
pub use ring::{RingFill, Wakeups};
pub use stats::{LossCount, MapStats, ProgramStats};

use self::{
    drops::Drops,
    latency::Latencies,
    peers::Peers,
    ring::Ring,
    turns::{Mark, Sums},
};

/// What the loader needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The running kernel's type information, `/sys/kernel/btf/vmlinux` unless the kernel has none.
    pub btf: PathBuf,
    /// Whether a v1 memory hierarchy is mounted, so that sockets and tasks carry their cgroup there.
    pub cgroup_v1: bool,
    /// The root of the unified hierarchy, where it is mounted.
    pub cgroup_v2: Option<PathBuf>,
    /// Features that are not wanted, with the reason: configuration, or something else does the same here for less.
    pub disabled: Vec<(FeatureId, Unwanted)>,
    /// Whether the runs of all programs are counted and timed. Those of optional features always are.
    pub statistics: bool,
    /// Programs that are treated as if this kernel refused them, so that a test can force any choice of a chain.
    pub refused: Vec<String>,
}

/// Why a feature is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// Configuration turned it off.
    Disabled,
    /// It is optional, or something else does the same here for less.
    Because(&'static str),
}

impl Unwanted {
    /// The verdict that it makes.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Disabled => Verdict::Disabled,
            Self::Because(reason) => Verdict::Unwanted { reason: reason.to_owned() },
        }
    }
}

impl Options {
    /// The first program of a choice that a test has the kernel refuse, if any.
    fn refused(&self, choice: &Choice) -> Option<&'static str> {
        choice.programs().into_iter().find(|program| self.refused.iter().any(|refused| refused == program))
    }

    /// Why a feature is not wanted, if so.
    pub fn disabled(&self, feature: FeatureId) -> Option<Unwanted> {
        self.disabled.iter().find(|(disabled, _)| *disabled == feature).map(|(_, unwanted)| *unwanted)
    }
}

/// Loaded programs and their maps. Dropping it detaches everything.
pub struct Kernel {
    /// `None` when the object itself could not be loaded.
    loaded: Option<Loaded>,
    features: Vec<FeatureStatus>,
    /// Holding it open keeps run-time statistics on.
    _stats: Option<OwnedFd>,
    stats_verdict: Verdict,
    cpus: NonZeroUsize,
}

struct Loaded {
    ebpf: Ebpf,
    ring: Ring,
    conns: HashMap<MapData, u64, ConnValue>,
    losses: PerCpuArray<MapData, u64>,
    mark: Mark,
    exited: Sums<{ size_of::<OwnerKey>() }, { size_of::<Exited>() }>,
    bios: Sums<{ size_of::<BioKey>() }, { size_of::<BioCounts>() }>,
    run_queues: Latencies<{ size_of::<RunQueueKey>() }>,
    disk_latencies: Latencies<{ size_of::<DiskLatencyKey>() }>,
    drops: Drops,
    datagrams: HashMap<MapData, DatagramsKey, DatagramsValue>,
    peers: Peers,
    answers: Ring,
    iterator_buffer: Vec<u8>,
    map_fds: Vec<(String, OwnedFd)>,
}

/// A value of the table of connections, which user space deletes but never reads.
type ConnValue = [u8; size_of::<sonde_abi::tcp::Conn>()];

/// Key and value of the table of datagrams, as the bytes that `probes::udp` reads.
type DatagramsKey = [u8; size_of::<sonde_abi::udp::OwnerKey>()];
type DatagramsValue = [u8; size_of::<sonde_abi::udp::Totals>()];

impl Kernel {
    /// Loads what can be loaded.
    pub fn open(options: &Options) -> Self {
        heap::return_large_blocks();
        let (loaded, features) = match object::load(options) {
            Ok((mut ebpf, context)) => {
                let features = attach::all(&mut ebpf, &context, options);
                match Loaded::take(ebpf, context.btf.is_err(), context.drop_reasons) {
                    Ok(loaded) => (Some(loaded), features),
                    Err(reason) => (None, feature::all_broken(options, &reason)),
                }
            }
            Err(reason) => (None, feature::all_broken(options, &reason)),
        };
        let watched = features.iter().any(|status| status.id.is_optional() && status.verdict.is_ok());
        let (stats, stats_verdict) = match options.statistics || watched {
            true => stats::enable(),
            false => (None, Verdict::Unwanted { reason: stats::UNASKED.to_owned() }),
        };
        Self { loaded, features, _stats: stats, stats_verdict, cpus: online_cpus() }
    }

    /// CPUs of the node that were online at the start, whatever the agent itself is limited to.
    pub fn cpus(&self) -> NonZeroUsize {
        self.cpus
    }

    /// What works, what does not, and why.
    pub fn features(&self) -> &[FeatureStatus] {
        &self.features
    }

    /// Whether run counts and times of programs are measured.
    pub fn stats_verdict(&self) -> &Verdict {
        &self.stats_verdict
    }

    /// Whether a feature works.
    pub fn has(&self, feature: FeatureId) -> bool {
        self.features.iter().any(|status| status.id == feature && status.verdict.is_ok())
    }

    /// The rings' wake-ups. Must be called inside a tokio runtime.
    pub fn wakeups(&self) -> Option<Wakeups> {
        let fds = &self.loaded.as_ref()?.map_fds;
        let fd = |ring| fds.iter().find(|(name, _)| name == ring)?.1.try_clone().ok();
        Wakeups::new(fd("EVENTS")?, fd("ANSWERS")?).ok()
    }

    /// Hands waiting events to `handle`, at most `budget` of them; returns how many.
    pub fn drain(&mut self, budget: usize, handle: impl FnMut(&[u8])) -> usize {
        self.loaded.as_mut().map_or(0, |loaded| loaded.ring.drain(budget, handle))
    }

    /// How full each ring was since the last call.
    pub fn take_ring_fills(&mut self) -> Vec<RingFill> {
        let fills =
            |loaded: &mut Loaded| [loaded.ring.take_fill("EVENTS"), loaded.answers.take_fill("ANSWERS")];
        self.loaded.as_mut().map_or_else(Vec::new, |loaded| fills(loaded).to_vec())
    }

    /// Walks over all open files and hands rows to `handle`, of every feature that has some: open TCP sockets, open UDP
    /// sockets, and one or more for every process with open files.
    ///
    /// # Errors
    ///
    /// As [`iterator::run`]; `Unsupported` when no feature has rows.
    pub fn files(&mut self, pace: &mut Pace, handle: impl FnMut(&[u8])) -> io::Result<()> {
        let feature = FeatureId::ALL.iter().find(|id| id.file_rows() != 0 && self.has(**id));
        self.iterate(*feature.ok_or(io::ErrorKind::Unsupported)?, pace, handle)
    }

    /// Hands a row for every open TCP socket of this network namespace to `handle` that the last walk of
    /// [`files`](Self::files) has not shown.
    ///
    /// # Errors
    ///
    /// As [`iterator::run`].
    pub fn unfiled_sockets(&mut self, pace: &mut Pace, handle: impl FnMut(&[u8])) -> io::Result<()> {
        self.iterate(FeatureId::TcpUnfiled, pace, handle)
    }

    /// Hands a row for every thread to `handle`.
    pub fn tasks(&mut self, pace: &mut Pace, handle: impl FnMut(&[u8])) -> io::Result<()> {
        self.iterate(FeatureId::ProcessTasks, pace, handle)
    }

    /// Begins a pass over all tasks: from now on threads that it cannot list are added up anew. Returns the mark by which
    /// both halves tell them; `None` when ends of threads are not told.
    pub fn begin_task_pass(&mut self, now_ns: u64) -> Option<u64> {
        let tells_ends = self.has(FeatureId::ProcessTasks) && self.has(FeatureId::ProcessExits);
        let mark = self.loaded.as_mut()?.mark.begin_pass(now_ns);
        mark.filter(|_| tells_ends)
    }

    /// Hands over what ended threads had waited that no pass has listed, up to the begin of the last pass.
    pub fn take_exited(&mut self, handle: impl FnMut(&OwnerKey, &Exited)) {
        if let Some(loaded) = self.loaded.as_mut() {
            loaded.exited.take(&loaded.mark, handle);
        }
    }

    /// Hands over how long threads of each cgroup waited for a CPU.
    pub fn run_queues(&mut self, handle: impl FnMut(&RunQueueKey, &Latency) -> Keep) {
        if self.has(FeatureId::RunQueue)
            && let Some(loaded) = self.loaded.as_mut()
        {
            loaded.run_queues.visit(handle);
        }
    }

    /// Hands over how long requests to each disk took.
    pub fn disk_latencies(&mut self, handle: impl FnMut(&DiskLatencyKey, &Latency) -> Keep) {
        if self.has(FeatureId::DiskLatency)
            && let Some(loaded) = self.loaded.as_mut()
        {
            loaded.disk_latencies.visit(handle);
        }
    }

    /// Packets dropped so far by reason, of those that ever were one.
    pub fn drops(&self) -> Vec<(&str, u64)> {
        let loaded = self.loaded.as_ref().filter(|_| self.has(FeatureId::Drops));
        loaded.map_or_else(Vec::new, |loaded| loaded.drops.read())
    }

    /// Detaches a feature for good; `reason` is what its verdict says from now on.
    pub fn shed(&mut self, feature: FeatureId, reason: String) {
        if let Some(loaded) = self.loaded.as_mut() {
            feature.programs().for_each(|program| attach::unload(&mut loaded.ebpf, program));
        }
        if let Some(status) = self.features.iter_mut().find(|status| status.id == feature) {
            *status = FeatureStatus::new(feature, Verdict::Broken { reason });
        }
    }

    /// Hands over the I/O that was submitted up to the begin of the last pass.
    pub fn take_bios(&mut self, handle: impl FnMut(&BioKey, &BioCounts)) {
        if let Some(loaded) = self.loaded.as_mut() {
            loaded.bios.take(&loaded.mark, handle);
        }
    }

    /// Hands waiting DNS answers to `handle`, at most `budget` of them.
    pub fn drain_answers(&mut self, budget: usize, handle: impl FnMut(&[u8])) {
        if let Some(loaded) = self.loaded.as_mut() {
            loaded.answers.drain(budget, handle);
        }
    }

    /// Hands key and value of every process' datagrams to `handle`. Two system calls each.
    pub fn datagrams(&self, mut handle: impl FnMut(&[u8], &[u8])) {
        let Some(loaded) = &self.loaded else { return };
        // An entry that goes while the table is read may end the reading early; the next one sees the rest.
        for (key, value) in loaded.datagrams.iter().filter_map(Result::ok) {
            handle(&key, &value);
        }
    }

    /// Ends what the next [`Self::take_peers`] hands over.
    pub fn turn_peers(&mut self) {
        if self.has(FeatureId::UdpPeers)
            && let Some(loaded) = self.loaded.as_mut()
        {
            loaded.peers.turn();
        }
    }

    /// Hands over the node's datagrams by both ends, up to [`Self::turn_peers`]. To be called some time after it.
    pub fn take_peers(&mut self, handle: impl FnMut(&PeerKey, &PeerBytes)) {
        if let Some(loaded) = self.loaded.as_mut() {
            loaded.peers.take(handle);
        }
    }

    /// The node's datagrams that found no room between two readings, and how fast room is taken; since the start.
    pub fn peers_rest(&self) -> PeerBytes {
        let loaded = self.loaded.as_ref().filter(|_| self.has(FeatureId::UdpPeers));
        loaded.map_or_else(PeerBytes::default, |loaded| loaded.peers.rest())
    }

    /// Makes the kernel half forget the datagrams of a process that is gone.
    pub fn forget_datagrams(&mut self, key: &[u8]) {
        if let (Some(loaded), Ok(key)) = (self.loaded.as_mut(), key.try_into()) {
            // As in `forget_socket`.
            let _ = loaded.datagrams.remove(&key);
        }
    }

    fn iterate(&mut self, feature: FeatureId, pace: &mut Pace, handle: impl FnMut(&[u8])) -> io::Result<()> {
        let loaded = self.loaded.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        iterator::run(&mut loaded.ebpf, feature, &mut loaded.iterator_buffer, pace, handle)
    }

    /// Sockets that the kernel half tracks now. One system call each: for the sweep, not for a scrape.
    pub fn tracked_sockets(&self, pace: &mut Pace) -> Vec<u64> {
        let loaded = self.loaded.iter();
        let keys = loaded.flat_map(|loaded| loaded.conns.keys().filter_map(Result::ok));
        let mut keys: Vec<u64> = keys.inspect(|_| pace.step()).collect();
        // When the key that was read last is gone, the kernel begins anew.
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Makes the kernel half forget a socket whose end was missed.
    pub fn forget_socket(&mut self, sock: u64) {
        if let Some(loaded) = self.loaded.as_mut() {
            // Absent is what we want; nothing else can go wrong with a key of the right size.
            let _ = loaded.conns.remove(&sock);
        }
    }

    /// Counters of everything the kernel half dropped.
    pub fn losses(&self) -> Vec<LossCount> {
        self.loaded.as_ref().map_or_else(Vec::new, |loaded| stats::losses(&loaded.losses))
    }

    /// Runs, run time and verification effort per program.
    pub fn programs(&self) -> Vec<ProgramStats> {
        self.loaded.as_ref().map_or_else(Vec::new, |loaded| stats::programs(&loaded.ebpf))
    }

    /// Size and locked memory per map.
    pub fn maps(&self) -> Vec<MapStats> {
        let fds = self.loaded.iter().flat_map(|loaded| &loaded.map_fds);
        fds.map(|(name, fd)| stats::map(name, fd)).collect()
    }
}

/// As the kernel says; one where it does not.
fn online_cpus() -> NonZeroUsize {
    aya::util::online_cpus().ok().and_then(|cpus| NonZeroUsize::new(cpus.len())).unwrap_or(NonZeroUsize::MIN)
}

impl Loaded {
    /// Takes the maps out of the object, the table of connections that is in use among them.
    fn take(mut ebpf: Ebpf, plain_tracepoint: bool, reasons: Vec<(String, u32)>) -> Result<Self, String> {
        let map_fds = stats::map_fds(&ebpf);
        let mut map =
            |name: &'static str| ebpf.take_map(name).ok_or(format!("map `{name}` is not in the object"));
        let ring =
            Ring::new(map("EVENTS")?, EVENTS_BYTES).map_err(|error| format!("map `EVENTS`: {error}"))?;
        let name = if plain_tracepoint { "CONN_BY_SOCK_TP" } else { "CONN_BY_SOCK" };
        let conns = HashMap::try_from(map(name)?).map_err(|error| format!("map `{name}`: {error}"))?;
        let datagrams = HashMap::try_from(map("UDP_BY_OWNER")?)
            .map_err(|error| format!("map `UDP_BY_OWNER`: {error}"))?;
        let answers =
            Ring::new(map("ANSWERS")?, ANSWERS_BYTES).map_err(|error| format!("map `ANSWERS`: {error}"))?;
        let losses =
            PerCpuArray::try_from(map("LOSSES")?).map_err(|error| format!("map `LOSSES`: {error}"))?;
        let mark = Mark::new(map("PASS")?)?;
        let exited = Sums::new([map("EXITED_A")?, map("EXITED_B")?])?;
        let bios = Sums::new([map("BIOS_A")?, map("BIOS_B")?])?;
        let run_queues = Latencies::new(map("RUN_QUEUE")?)?;
        let disk_latencies = Latencies::new(map("DISK_LATENCY")?)?;
        let drops = Drops::new(map("DROPS")?, reasons)?;
        let peers = Peers::new([
            map("UDP_PEERS_A")?,
            map("UDP_PEERS_B")?,
            map("UDP_PEERS_REST")?,
            map("UDP_PEERS_TURN")?,
        ])?;
        Ok(Self {
            mark,
            exited,
            bios,
            run_queues,
            disk_latencies,
            drops,
            ebpf,
            ring,
            conns,
            losses,
            datagrams,
            peers,
            answers,
            iterator_buffer: Vec::new(),
            map_fds,
        })
    }
}
