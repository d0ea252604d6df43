//! The release agent as the thing measured: started, asked, stopped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::exposition::{self, Sample};
use crate::{http, paths};

const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);
const FRESH_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A running agent; it is stopped with this value.
pub struct Agent {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Agent {
    /// Starts the agent with its defaults on a free port and waits until it is ready.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts it with more settings.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "measuring the agent needs root");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = port.context("find a free port")?;
        let data = tempfile::tempdir().context("create a data directory")?;
        let log = std::fs::File::create(paths::logs()?.join("bench-agent.log"))
            .context("create the agent's log")?;
        let child = Command::new(paths::release_binary("sonde-agent")?)
            .arg("run")
            .arg(format!("--listen={address}"))
            .arg("--data-dir")
            .arg(data.path())
            .args(settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the agent's log")?)
            .stderr(log)
            .spawn()
            .context("start sonde-agent")?;
        let mut agent = Self { child, address, _data: data };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A scrape, as Prometheus would do it.
    pub fn scrape(&self) -> Result<Vec<Sample>> {
        Ok(exposition::parse(&String::from_utf8_lossy(&self.fetch()?)))
    }

    /// A scrape of which nothing is read: that is work of a server elsewhere.
    pub fn fetch(&self) -> Result<Vec<u8>> {
        let answer = http::get(self.address, "/metrics")?;
        ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        Ok(answer.body)
    }

    /// A scrape that shows a snapshot taken after `previous`: scrapes within a second of each other share one.
    pub fn scrape_after(&self, previous: &[Sample]) -> Result<Vec<Sample>> {
        let snapshots =
            |samples: &[Sample]| exposition::sum(samples, "sonde_agent_snapshot_duration_seconds_count");
        let deadline = Instant::now() + FRESH_WITHIN;
        while Instant::now() < deadline {
            let samples = self.scrape()?;
            if snapshots(&samples) > snapshots(previous) {
                return Ok(samples);
            }
            thread::sleep(POLL);
        }
        bail!("the agent took no new snapshot within {FRESH_WITHIN:?}")
    }

    /// Stops the agent and waits until its programs are detached.
    pub fn stop(mut self) -> Result<()> {
        let pid =
            i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("name the agent's process")?;
        kill_process(pid, Signal::TERM).context("signal sonde-agent")?;
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("wait for sonde-agent")? {
                ensure!(status.success(), "sonde-agent ended with {status}");
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("sonde-agent is still running {STOP_WITHIN:?} after SIGTERM")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("wait for sonde-agent")? {
                bail!("sonde-agent ended with {status}: see bench-agent.log");
            }
            if http::get(self.address, "/readyz").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("sonde-agent is not ready after {START_WITHIN:?}")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures the same thing beside agents with these settings and with those, in an order that alternates with `index`.
pub fn pair_of(
    index: u32,
    these: &[&str],
    those: &[&str],
    measure: impl Fn() -> Result<f64>,
) -> Result<(f64, f64)> {
    let beside = |settings: &[&str]| -> Result<f64> {
        let agent = Agent::start_with(settings)?;
        let value = measure()?;
        agent.stop()?;
        Ok(value)
    };
    if super::statistics::with_agent_first(index) {
        let those = beside(those)?;
        Ok((beside(these)?, those))
    } else {
        let these = beside(these)?;
        Ok((these, beside(those)?))
    }
}

/// Measures the same thing without and with the agent with these settings, in an order that alternates with `index`.
pub fn pair(index: u32, settings: &[&str], measure: impl Fn() -> Result<f64>) -> Result<(f64, f64)> {
    let with = || -> Result<f64> {
        let agent = Agent::start_with(settings)?;
        let value = measure()?;
        agent.stop()?;
        Ok(value)
    };
    if super::statistics::with_agent_first(index) {
        let with = with()?;
        Ok((measure()?, with))
    } else {
        let without = measure()?;
        Ok((without, with()?))
    }
}
