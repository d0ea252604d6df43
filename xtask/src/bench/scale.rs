//! A full node: 200 containers with 10,000 live connections. What the agent takes then, how that grows, and whether
//! reading it all disturbs the traffic.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::agent::Agent;
use super::beside::{self, Beside};
use super::crowd::Crowd;
use super::figure::Figure;
use super::statistics::Steady;
use super::stream::{SLICE, Stream};
use super::{Effort, bulk};
use crate::exposition;

const RSS_TARGET: f64 = 64e6;
/// The default of `--scrape-interval`, and Prometheus' habit.
const INTERVAL: Duration = Duration::from_secs(15);

/// A container without a runtime's answer is hidden for a few seconds, lest its first series have no name.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// Measures a growing crowd, then the throughput beside the whole one.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let mut crowd = Crowd::new()?;
    let mut costs = Vec::new();
    for quarter in 1..=4 {
        crowd.grow(effort.containers * quarter / 4, effort.connections_each)?;
        costs.push(cost(effort.scrapes, effort.containers * quarter / 4)?);
    }
    let mut figures = costs_of_scrapes(effort, &costs);
    figures.push(throughput(effort)?);
    drop(crowd);
    Ok(figures)
}

/// What a scrape takes with a crowd of some size.
struct Cost {
    series: f64,
    cpu: Duration,
    peak_rss: f64,
    connections: f64,
}

/// Starts an agent beside the crowd and scrapes it some times, each for a snapshot of its own, once it shows them all.
fn cost(scrapes: u32, containers: usize) -> Result<Cost> {
    let (agent, mut samples) = settled(containers)?;
    let value = |samples: &[exposition::Sample], name| exposition::sum(samples, name).unwrap_or(0.0);
    let cpu = cpu_time(agent.pid())?;
    for _ in 0..scrapes {
        samples = agent.scrape_after(&samples)?;
    }
    let cpu = cpu_time(agent.pid())? - cpu;
    let cost = Cost {
        series: value(&samples, "sonde_agent_series"),
        connections: value(&samples, "sonde_agent_connections"),
        cpu: cpu / scrapes,
        peak_rss: value(&samples, "sonde_agent_resident_memory_peak_bytes"),
    };
    agent.stop()?;
    Ok(cost)
}

/// An agent that shows so many containers, with its last scrape: what it does only once is over.
fn settled(containers: usize) -> Result<(Agent, Vec<exposition::Sample>)> {
    let agent = Agent::start()?;
    let mut samples = agent.scrape()?;
    let deadline = Instant::now() + SHOWN_WITHIN;
    while shown(&samples) < containers {
        ensure!(Instant::now() < deadline, "the agent shows {} containers of {containers}", shown(&samples));
        samples = agent.scrape_after(&samples)?;
    }
    Ok((agent, samples))
}

/// Containers with connections.
fn shown(samples: &[exposition::Sample]) -> usize {
    let active = samples.iter().filter(|sample| sample.name == "container_net_tcp_active_connections");
    let ids = active.filter_map(|sample| sample.labels.get("container_id"));
    ids.filter(|id| id.starts_with("/docker/")).collect::<BTreeSet<_>>().len()
}

/// CPU time of the process, those of its threads included that have ended.
fn cpu_time(pid: u32) -> Result<Duration> {
    /// Fields of `/proc/<pid>/stat` behind the name, proc_pid_stat(5).
    const UTIME: usize = 11;
    const STIME: usize = 12;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read the agent's times")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u32>().ok();
    let ticks = ticks(UTIME).zip(ticks(STIME)).context("find the agent's times")?;
    let second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    Ok(Duration::from_secs(1) * (ticks.0 + ticks.1) / second)
}

fn costs_of_scrapes(effort: Effort, costs: &[Cost]) -> Vec<Figure> {
    let Some(full) = costs.last() else { return Vec::new() };
    let size = format!("{} containers, {:.0} connections", effort.containers, full.connections);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let growth: Vec<String> = costs.iter().map(|cost| format!("{:.1}", millis(cost.cpu))).collect();
    let quarter = costs.first().map_or(f64::NAN, |cost| millis(cost.cpu));
    vec![
        Figure {
            name: format!("one scrape, {size}"),
            value: format!(
                "{:.1} ms of CPU for {:.0} series; {:.2} % of one core at one per {} s",
                millis(full.cpu),
                full.series,
                full.cpu.as_secs_f64() / INTERVAL.as_secs_f64() * 100.0,
                INTERVAL.as_secs()
            ),
            method: format!(
                "CPU time of the process over {} scrapes, each with a snapshot of its own; iterators and regular visits to the ring included",
                effort.scrapes
            ),
            target: None,
        },
        Figure {
            name: "growth of a scrape's cost with the node".into(),
            value: format!(
                "{} ms; four times the node costs × {:.1}",
                growth.join(", "),
                millis(full.cpu) / quarter
            ),
            method: "as above with a quarter, half, three quarters and all of the containers".into(),
            target: Some(("≤ × 5".into(), millis(full.cpu) <= 5.0 * quarter)),
        },
        Figure {
            name: format!("agent RSS, {size}"),
            value: format!("{:.1} MB", full.peak_rss / 1e6),
            method: format!("VmHWM after {} scrapes", effort.scrapes),
            target: Some(("≤ 64 MB".into(), full.peak_rss <= RSS_TARGET)),
        },
    ]
}

/// Throughput of one stream beside the crowd, with an agent that is scraped meanwhile and without.
fn throughput(effort: Effort) -> Result<Figure> {
    let interval = effort.scale_interval;
    let start = || settled(effort.containers).map(|(agent, _)| agent);
    let with = |stream: &Stream, agent: &Agent| while_scraped(stream, agent, interval);
    let Beside { ratio, method, .. } = beside::measure(effort.scale_rounds, interval, start, with)?;
    Ok(Figure {
        name: "bulk TCP stream beside a full node, with / without agent".into(),
        value: ratio.percent(),
        method: format!("{method}; the agent settled, and scraped once in the middle of each window"),
        target: Some((format!("≥ {:.0} %", bulk::TARGET * 100.0), ratio.median >= bulk::TARGET)),
    })
}

/// The stream's speed during one interval between scrapes, with the scrape in its middle. What is slow meanwhile counts.
fn while_scraped(stream: &Stream, agent: &Agent, interval: Duration) -> Result<Steady> {
    let slice = |time: Duration| (time.as_secs_f64() / SLICE.min(interval).as_secs_f64()) as usize;
    thread::scope(|scope| {
        let started = Instant::now();
        let scraper = scope.spawn(move || {
            thread::sleep(interval / 2);
            let begun = started.elapsed();
            agent.fetch().map(|_| slice(begun)..slice(started.elapsed()) + 1)
        });
        let window = stream.window(interval)?;
        let scrape = scraper.join().map_err(|_| anyhow::anyhow!("the scraper has panicked"))??;
        window.without_stalls(scrape)
    })
}
