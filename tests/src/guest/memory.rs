//! Processes that the OOM killer ends: the owner of each is told, though it is gone a moment later.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};

use super::tests::{Role, command_in, count};
use super::{Agent, check, hierarchy, say};
use crate::wait;

const LIMIT: &str = "67108864";
const WANTED: &str = "134217728";
const KILLS: u64 = 3;
const SIGKILL: i32 = 9;
const TEST: &str = "victims_of_the_oom_killer_are_their_owners";

/// All tests of this page.
pub(super) fn run_all(agent: &Agent) {
    let controllers = hierarchy::unified().join("cgroup.controllers");
    let controllers = fs::read_to_string(controllers).unwrap_or_default();
    if hierarchy::has_v1() || controllers.split_whitespace().any(|name| name == "memory") {
        check(TEST, || victims(agent, "guest-starved.service", Source::Events));
    } else {
        say(&format!("SKIP {TEST} the unified hierarchy has no memory controller here"));
    }
}

/// Where the kills are told.
#[derive(PartialEq, Eq)]
pub(super) enum Source {
    /// By the kernel as they happen.
    Events,
    /// By the group's own file.
    Files,
}

/// Some processes of a service want more than it may have.
pub(super) fn victims(agent: &Agent, service: &str, source: Source) -> Result<()> {
    let service = format!("/system.slice/{service}");
    hierarchy::create(&service)?;
    if hierarchy::has_v1() {
        hierarchy::set(&service, "memory.limit_in_bytes", LIMIT)?;
    } else {
        hierarchy::hand_down(&service, "+memory")?;
        hierarchy::set(&service, "memory.max", LIMIT)?;
    }
    // A group of nobody is not shown; the kernel ends the largest.
    let (_survivor, _) = Role::start_in(&service, &["udp", "serve", "127.0.0.1:0"], "listening ")?;
    for _ in 0..KILLS {
        let mut victim = command_in(&service, &["allocate", WANTED]);
        let ended = victim.status().context("start the victim")?;
        ensure!(ended.signal() == Some(SIGKILL), "it was not killed: {ended}");
    }
    agent.expect(&[("container_oom_kills_total", &[("container_id", &service)], count(KILLS))]);
    // Nor is any of them somebody else's.
    let everybody = agent.metrics()?.sum("container_oom_kills_total", &[]);
    ensure!(everybody.total_cmp(&count(KILLS)).is_eq(), "{everybody} kills in all");
    wait::until_within(super::DEADLINE, "the events", || {
        let told = agent.metrics()?.sum("sonde_agent_events_total", &[("event", "oom_victim")]);
        let expected = if source == Source::Events { KILLS } else { 0 };
        ensure!(told.total_cmp(&count(expected)).is_eq(), "{told} events");
        Ok(())
    });
    Ok(())
}
