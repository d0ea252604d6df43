//! Processes that the OOM killer ends: the owner of each is told, though it is gone a moment later.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::tests::count;
use super::{Agent, check, child_command, say};
use crate::{traffic, wait};

const ROOT: &str = "/sys/fs/cgroup";
const SERVICE: &str = "/system.slice/guest-starved.service";
const LIMIT: &str = "67108864";
const WANTED: &str = "134217728";
const KILLS: u64 = 3;
const SIGKILL: i32 = 9;
const TEST: &str = "victims_of_the_oom_killer_are_their_owners";
pub(super) const ROLE: &str = "starve";

/// All tests of this page.
pub(super) fn run_all(agent: &Agent) {
    let controllers = fs::read_to_string(format!("{ROOT}/cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|name| name == "memory") {
        check(TEST, || victims(agent));
    } else {
        say(&format!("SKIP {TEST} the unified hierarchy has no memory controller here"));
    }
}

fn victims(agent: &Agent) -> Result<()> {
    let group = format!("{ROOT}{SERVICE}");
    fs::create_dir_all(&group).context("make the service's cgroup")?;
    for above in [ROOT, "/sys/fs/cgroup/system.slice"] {
        fs::write(Path::new(above).join("cgroup.subtree_control"), "+memory")
            .with_context(|| format!("limit memory below {above}"))?;
    }
    fs::write(format!("{group}/memory.max"), LIMIT).context("limit the service's memory")?;
    for _ in 0..KILLS {
        let ended = child_command(ROLE).status().context("start the victim")?;
        ensure!(ended.signal() == Some(SIGKILL), "it was not killed: {ended}");
    }
    agent.expect("container_oom_kills_total", &[("container_id", SERVICE)], count(KILLS));
    // Nor is any of them somebody else's.
    let everybody = agent.metrics()?.sum("container_oom_kills_total", &[]);
    ensure!(everybody.total_cmp(&count(KILLS)).is_eq(), "{everybody} kills in all");
    wait::until_within(super::DEADLINE, "the events", || {
        let told = agent.metrics()?.sum("sonde_agent_events_total", &[("event", "oom_victim")]);
        ensure!(told.total_cmp(&count(KILLS)).is_eq(), "{told} events");
        Ok(())
    });
    Ok(())
}

/// The child's part: wants more than its service may have.
pub(super) fn starve() -> Result<()> {
    fs::write(format!("{ROOT}{SERVICE}/cgroup.procs"), std::process::id().to_string())
        .context("move into the service's cgroup")?;
    traffic::run(&["allocate", WANTED])
}
