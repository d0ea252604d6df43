//! `cargo xtask run`: from a fresh machine to live data.
//!
//! The agent gets a process group of its own. A terminal's Ctrl-C therefore reaches only xtask, which passes
//! exactly one signal on: the agent takes a second one as the wish to end at once, without detaching.

mod summary;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{build, http, paths};

/// How often the agent's end and its readiness are looked at.
const POLL: Duration = Duration::from_millis(100);
/// The agent is given this long to attach and scan before the summary is printed anyway.
const READY_WITHIN: Duration = Duration::from_secs(30);
const DEFAULT_LISTEN: &str = "0.0.0.0:10300";

/// What is passed on.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Flags of sonde-agent, as they are: --remote-write URL, --listen ADDRESS, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "AGENT FLAGS")]
    agent: Vec<String>,
}

/// Builds, runs the agent until it ends or a signal comes, and prints where to look meanwhile.
pub fn run(arguments: &Arguments) -> Result<()> {
    build::ensure()?;
    if !rustix::process::geteuid().is_root() {
        bail!("loading programs into the kernel needs root; run this as root");
    }
    let signals = signals()?;
    let listen = listen_address(&arguments.agent, std::env::var("SONDE_LISTEN").ok().as_deref());
    let data = paths::target()?.join("xtask/agent-data");
    let child = Command::new(paths::release_binary("sonde-agent")?)
        .args(agent_arguments(&arguments.agent, &data.to_string_lossy()))
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .context("start sonde-agent")?;
    let mut agent = Agent { child, address: http::reachable(&listen) };
    let status = agent.supervise(&signals)?;
    if status.success() { Ok(()) } else { bail!("sonde-agent: {status}") }
}

fn signals() -> Result<mpsc::Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listen for signals")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || signals.forever().take_while(|signal| sender.send(*signal).is_ok()).count());
    Ok(receiver)
}

/// The agent's arguments: those given, and a data directory of this checkout where none is named.
fn agent_arguments(given: &[String], data: &str) -> Vec<String> {
    let named = given.iter().any(|argument| argument == "--data-dir" || argument.starts_with("--data-dir="));
    let mut arguments = vec!["run".to_owned()];
    if !named && std::env::var_os("SONDE_DATA_DIR").is_none() {
        arguments.extend(["--data-dir".to_owned(), data.to_owned()]);
    }
    arguments.extend(given.iter().filter(|argument| *argument != "run").cloned());
    arguments
}

/// Where the agent will listen: its flag, else its environment, else its default.
fn listen_address(given: &[String], environment: Option<&str>) -> String {
    let mut arguments = given.iter();
    let flag = arguments.find_map(|argument| argument.strip_prefix("--listen=").map(str::to_owned));
    let pair = || given.windows(2).find(|pair| pair[0] == "--listen").map(|pair| pair[1].clone());
    flag.or_else(pair).or_else(|| environment.map(str::to_owned)).unwrap_or_else(|| DEFAULT_LISTEN.to_owned())
}

struct Agent {
    child: Child,
    address: Option<SocketAddr>,
}

impl Agent {
    fn supervise(&mut self, signals: &mpsc::Receiver<i32>) -> Result<ExitStatus> {
        let started = Instant::now();
        let mut told = false;
        loop {
            if let Some(status) = self.child.try_wait().context("wait for sonde-agent")? {
                return Ok(status);
            }
            if !told && (self.is_ready() || started.elapsed() > READY_WITHIN) {
                told = true;
                self.tell();
            }
            match signals.recv_timeout(POLL) {
                Ok(_) => return self.stop(signals),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the signal listener has ended"),
            }
        }
    }

    /// Passes a stop on, and a second one when the user insists.
    fn stop(&mut self, signals: &mpsc::Receiver<i32>) -> Result<ExitStatus> {
        eprintln!("… stopping sonde-agent");
        let started = Instant::now();
        self.signal()?;
        loop {
            if let Some(status) = self.child.try_wait().context("wait for sonde-agent")? {
                eprintln!("✓ sonde-agent has stopped ({})", crate::progress::elapsed(started.elapsed()));
                return Ok(status);
            }
            if signals.recv_timeout(POLL).is_ok() {
                self.signal()?;
            }
        }
    }

    fn signal(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("name the agent's process")?;
        kill_process(pid, Signal::TERM).context("signal sonde-agent")
    }

    fn is_ready(&self) -> bool {
        self.address
            .is_some_and(|address| http::get(address, "/readyz").is_ok_and(|answer| answer.status == 200))
    }

    fn tell(&self) {
        let Some(address) = self.address else { return };
        let status = http::get(address, "/status").and_then(|answer| answer.json());
        let metrics = http::get(address, "/metrics").map(|answer| answer.body).unwrap_or_default();
        match status {
            Ok(status) => {
                println!("{}", summary::render(address, &status, &String::from_utf8_lossy(&metrics)))
            }
            Err(error) => eprintln!("  sonde-agent does not answer on {address}: {error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_agents_own_flags_are_found() {
        assert_eq!(listen_address(&strings(&["--listen", "127.0.0.1:1"]), Some("x")), "127.0.0.1:1");
        assert_eq!(listen_address(&strings(&["--listen=127.0.0.1:2"]), None), "127.0.0.1:2");
        assert_eq!(listen_address(&[], Some("127.0.0.1:3")), "127.0.0.1:3");
        assert_eq!(listen_address(&strings(&["--log-level", "debug"]), None), "0.0.0.0:10300");
    }

    #[test]
    fn a_data_directory_is_added_unless_one_is_named() {
        let own = agent_arguments(&strings(&["--data-dir", "/a", "--cache", "off"]), "/t");
        assert_eq!(own, ["run", "--data-dir", "/a", "--cache", "off"]);
        assert_eq!(agent_arguments(&strings(&["run"]), "/t"), ["run", "--data-dir", "/t"]);
    }
}
