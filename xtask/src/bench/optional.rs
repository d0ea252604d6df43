//! What optional probes cost, each beside an agent that has them off: on what they watch, and for each run of a program.

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::agent::{self, Agent};
use super::figure::Figure;
use super::{Effort, statistics};
use crate::exposition::Sample;
use crate::paths;

const BLOCK: usize = 4096;

struct Probe {
    name: &'static str,
    program: &'static str,
    load: &'static str,
    /// Microseconds of one turn.
    turn: fn(u32) -> Result<f64>,
    /// Of the effort's cycles; a disk is slower than a pipe.
    share: u32,
}

const PROBES: [Probe; 3] = [
    Probe {
        name: "runqueue",
        program: "sched_latency",
        load: "round trips over a pipe between two threads on one CPU",
        turn: ping_pong,
        share: 1,
    },
    Probe {
        name: "block-latency",
        program: "disk_latency",
        load: "direct writes of 4 KiB",
        turn: direct_writes,
        share: 10,
    },
    Probe {
        name: "drops",
        program: "skb_drop",
        load: "datagrams to a port without a listener",
        turn: unwanted_datagrams,
        share: 1,
    },
];

/// Measures interleaved pairs for each probe.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    PROBES.iter().map(|probe| figure(probe, effort)).collect()
}

fn figure(probe: &Probe, effort: Effort) -> Result<Figure> {
    let turns = effort.cycles / probe.share;
    let switch = format!("--probe={}=on", probe.name);
    (probe.turn)(turns)?;
    let mut ratios = Vec::new();
    let mut added = Vec::new();
    for index in 0..effort.pairs {
        let (off, on) = agent::pair_of(index, &[], &[&switch], || (probe.turn)(turns))?;
        ratios.push(on / off);
        added.push(on - off);
    }
    let (ratio, added) = (statistics::summary(&ratios), statistics::summary(&added));
    let run = nanoseconds_per_run(probe, &switch, turns)?;
    Ok(Figure {
        name: format!("optional probe `{}`", probe.name),
        value: format!(
            "× {:.3} [{:.3}–{:.3}], {:+.2} µs [{:+.2}–{:+.2}] a turn; {run:.0} ns a run",
            ratio.median, ratio.low, ratio.high, added.median, added.low, added.high
        ),
        method: format!(
            "{} interleaved pairs of {turns} {}, with the probe and with an agent that has it off; median and quartiles; \
             growth of run_time_ns over growth of run_cnt of `{}`",
            effort.pairs, probe.load, probe.program
        ),
        target: None,
    })
}

fn nanoseconds_per_run(probe: &Probe, switch: &str, turns: u32) -> Result<f64> {
    let agent = Agent::start_with(&[switch])?;
    let before = agent.scrape()?;
    (probe.turn)(turns)?;
    let after = agent.scrape_after(&before)?;
    agent.stop()?;
    let growth = |name: &str| {
        let is_its = |sample: &&Sample| {
            sample.name == name
                && sample.labels.get("program").is_some_and(|program| program == probe.program)
        };
        let of = |samples: &[Sample]| samples.iter().filter(is_its).map(|sample| sample.value).sum::<f64>();
        of(&after) - of(&before)
    };
    let runs = growth("sonde_agent_program_runs_total");
    Ok(growth("sonde_agent_program_run_seconds_total") * 1e9 / runs.max(1.0))
}

/// Two switches a turn.
fn ping_pong(turns: u32) -> Result<f64> {
    let (mut there, mut back) = (pipe().context("make a pipe")?, pipe().context("make a pipe")?);
    thread::scope(|scope| {
        let echo = scope.spawn(|| -> Result<()> {
            stay_on_first_cpu()?;
            (0..turns).try_for_each(|_| pass(&mut there.0, &mut back.1))
        });
        let caller = scope.spawn(|| -> Result<f64> {
            stay_on_first_cpu()?;
            let start = Instant::now();
            for _ in 0..turns {
                there.1.write_all(&[1])?;
                back.0.read_exact(&mut [0])?;
            }
            Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(turns))
        });
        let time = join(caller)?;
        join(echo)?;
        Ok(time)
    })
}

fn pass(from: &mut PipeReader, to: &mut PipeWriter) -> Result<()> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    to.write_all(&byte).map_err(Into::into)
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn stay_on_first_cpu() -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).context("stay on the first CPU")
}

fn direct_writes(turns: u32) -> Result<f64> {
    let directory = tempfile::tempdir_in(paths::target()?).context("make a directory on the disk")?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed())
        .open(directory.path().join("direct"))
        .context("open a file for direct I/O")?;
    let memory = vec![1_u8; 2 * BLOCK];
    let begin = memory.as_ptr().align_offset(BLOCK);
    let block = &memory[begin..begin + BLOCK];
    // Its place on the disk is found once, before it is measured.
    file.write_all_at(block, 0).context("write")?;
    let start = Instant::now();
    (0..turns).try_for_each(|_| file.write_all_at(block, 0)).context("write")?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(turns))
}

fn unwanted_datagrams(turns: u32) -> Result<f64> {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr())?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("make a socket")?;
    let start = Instant::now();
    // Not connected, so that the refusals come back to nobody.
    (0..turns).try_for_each(|_| socket.send_to(&[0; 64], nobody).map(drop)).context("send")?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(turns))
}
