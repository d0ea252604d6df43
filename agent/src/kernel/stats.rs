//! What the kernel knows of our programs and maps.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray},
    sys::{Stats, enable_stats},
};
use serde::Serialize;
use sonde_abi::codes::Loss;

use super::feature::Verdict;

/// A loaded program.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramStats {
    /// Name in the object.
    pub name: String,
    /// Kernel's id, as `bpftool prog` shows it.
    pub id: u32,
    /// Runs since statistics were turned on.
    pub runs: u64,
    /// Time in those runs.
    #[serde(skip)]
    pub run_time: Duration,
    /// Instructions the verifier looked at; `None` before Linux 5.16.
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code.
    pub jited_bytes: u32,
}

/// A map.
#[derive(Clone, Debug, Serialize)]
pub struct MapStats {
    /// Name in the object.
    pub name: String,
    /// Capacity: entries, or bytes of a ring.
    pub max_entries: u32,
    /// Locked kernel memory, bytes; `None` when the kernel does not tell.
    pub bytes: Option<u64>,
}

/// A loss counter.
#[derive(Clone, Copy, Debug)]
pub struct LossCount {
    /// What was lost, where.
    pub loss: Loss,
    /// How often, summed over CPUs.
    pub count: u64,
}

/// Why run-time statistics are off: the kernel reads the clock before and after each run of each program, which takes
/// longer than most of the programs themselves.
pub const UNASKED: &str = "off unless asked for: they cost more than most programs";

/// Turns run-time statistics on for as long as the descriptor lives.
pub fn enable() -> (Option<OwnedFd>, Verdict) {
    match enable_stats(Stats::RunTime) {
        Ok(fd) => (Some(fd), Verdict::Ok { choice: "BPF_ENABLE_STATS".to_owned(), refused: Vec::new() }),
        Err(error) => {
            let reason = format!("BPF_ENABLE_STATS: {}: needs CAP_SYS_ADMIN", error.io_error);
            (None, Verdict::Broken { reason })
        }
    }
}

/// Statistics of all loaded programs.
pub fn programs(ebpf: &Ebpf) -> Vec<ProgramStats> {
    let stats = |(name, program): (&str, &aya::programs::Program)| {
        // A program that is not loaded has no info; its feature's verdict says why.
        let info = program.info().ok()?;
        Some(ProgramStats {
            name: name.to_owned(),
            id: info.id(),
            runs: info.run_count(),
            run_time: info.run_time(),
            verified_instructions: info.verified_instruction_count(),
            jited_bytes: info.size_jitted(),
        })
    };
    ebpf.programs().filter_map(stats).collect()
}

/// Descriptors of the object's maps, to ask about them later.
pub fn map_fds(ebpf: &Ebpf) -> Vec<(String, OwnedFd)> {
    let fd = |(name, map): (&str, &Map)| {
        let (Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::PerCpuHashMap(data)
        | Map::RingBuf(data)) = map
        else {
            return None;
        };
        Some((name.to_owned(), data.fd().as_fd().try_clone_to_owned().ok()?))
    };
    ebpf.maps().filter_map(fd).collect()
}

/// Statistics of one map.
pub fn map(name: &str, fd: &OwnedFd) -> MapStats {
    let fdinfo = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default();
    let field = |name: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    MapStats {
        name: name.to_owned(),
        max_entries: field("max_entries").unwrap_or(0) as u32,
        bytes: field("memlock"),
    }
}

/// All loss counters.
pub fn losses(map: &PerCpuArray<MapData, u64>) -> Vec<LossCount> {
    let sum = |loss: Loss| map.get(&(loss as u32), 0).map_or(0, |values| values.iter().sum());
    Loss::ALL.iter().map(|loss| LossCount { loss: *loss, count: sum(*loss) }).collect()
}
