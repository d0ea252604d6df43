//! Memory of the idle agent: its own, and what its maps lock in the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::agent::Agent;
use super::figure::Figure;

const RSS_TARGET: u64 = 30_000_000;
const MAPS_TARGET: u64 = 16_000_000;

/// Watches an agent that is scraped once a second and has nothing else to do.
pub fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let agent = Agent::start()?;
    let end = Instant::now() + Duration::from_secs(effort.idle_seconds);
    while Instant::now() < end {
        agent.scrape()?;
        thread::sleep(Duration::from_secs(1));
    }
    let proc = format!("/proc/{}", agent.pid());
    let status = fs::read_to_string(format!("{proc}/status")).context("read the agent's status")?;
    let peak = field(&status, "VmHWM").context("find VmHWM")? * 1024;
    let maps = locked_by_maps(&proc)?;
    agent.stop()?;
    ensure!(!maps.is_empty(), "the agent holds no map");
    let locked: u64 = maps.values().sum();
    let time = effort.idle_seconds;
    Ok(vec![
        Figure {
            name: "agent RSS, idle".into(),
            value: format!("{:.1} MB", peak as f64 / 1e6),
            method: format!(
                "VmHWM after {time} s with one scrape per second on a node with nothing but this"
            ),
            target: Some(("≤ 30 MB".into(), peak <= RSS_TARGET)),
        },
        Figure {
            name: "locked memory of all maps, idle".into(),
            value: format!("{:.2} MB in {} maps", locked as f64 / 1e6, maps.len()),
            method: "sum of memlock over the agent's map descriptors in /proc/PID/fdinfo, each map once"
                .into(),
            target: Some(("≤ 16 MB".into(), locked <= MAPS_TARGET)),
        },
    ])
}

/// Locked bytes by map id; several descriptors may stand for one map.
fn locked_by_maps(proc: &str) -> Result<BTreeMap<u64, u64>> {
    let entries = fs::read_dir(format!("{proc}/fdinfo")).context("list the agent's descriptors")?;
    // A descriptor may be closed between the listing and the reading.
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(texts.filter_map(|text| map(&text)).collect())
}

fn map(fdinfo: &str) -> Option<(u64, u64)> {
    field(fdinfo, "map_type")?;
    Some((field(fdinfo, "map_id")?, field(fdinfo, "memlock")?))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_maps_count() {
        assert_eq!(map("pos:\t0\nmap_type:\t27\nmemlock:\t270336\nmap_id:\t9\n"), Some((9, 270336)));
        assert_eq!(map("prog_type:\t26\nmemlock:\t4096\nprog_id:\t7\n"), None);
        assert_eq!(field("VmPeak:\t1 kB\nVmHWM:\t   20480 kB\n", "VmHWM"), Some(20480));
    }
}
