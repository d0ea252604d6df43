//! Prometheus and VictoriaMetrics as private servers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_address};
use crate::promql::Promql;
use crate::skip::find_tool;
use crate::{http, wait};

/// Which server, and how it gets its samples.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Prometheus that takes remote write.
    Prometheus,
    /// Prometheus that also scrapes this address every second.
    PrometheusScraping(SocketAddr),
    /// VictoriaMetrics.
    VictoriaMetrics,
}

/// A server with its own port and data. It can be stopped and started again on both.
#[derive(Debug)]
pub struct Tsdb {
    kind: Kind,
    address: SocketAddr,
    /// Before its directory, so that it ends first.
    process: Option<Process>,
    directory: TempDir,
}

impl Tsdb {
    /// Starts a server and waits until it answers.
    #[track_caller]
    pub fn start(kind: Kind) -> Self {
        let mut server = Self::stopped(kind);
        server.resume();
        server
    }

    /// A server that has its address and is not running yet.
    pub fn stopped(kind: Kind) -> Self {
        let directory = tempfile::tempdir().expect("create a directory for a server");
        Self { kind, address: free_address(), directory, process: None }
    }

    /// Starts it again where it was stopped, with the data it had.
    #[track_caller]
    pub fn resume(&mut self) {
        let (name, command) = match &self.kind {
            Kind::Prometheus => ("prometheus", self.prometheus("")),
            Kind::PrometheusScraping(agent) => ("prometheus", self.prometheus(&scrape_config(*agent))),
            Kind::VictoriaMetrics => ("victoria-metrics", self.victoria_metrics()),
        };
        let process = self.process.insert(Process::start(name, command, self.directory.path()));
        let path = if name == "prometheus" { "/-/ready" } else { "/health" };
        let address = self.address;
        wait::until(&format!("{name} to be ready"), || {
            process.assert_running();
            http::get(address, path, &[]).map(|answer| answer.status).and_then(|status| {
                anyhow::ensure!(status == 200, "it answers {status}");
                Ok(())
            })
        });
    }

    /// Stops it the way an operator does; its port refuses connections from then on.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("it is running");
        process.terminate();
    }

    /// Where it listens, running or not.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that takes remote write.
    pub fn remote_write(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Its query interface.
    pub fn promql(&self) -> Promql {
        Promql::at(self.address)
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    fn prometheus(&self, config: &str) -> Command {
        let directory = self.directory.path();
        let file = directory.join("prometheus.yml");
        fs::write(&file, config).expect("write the configuration of Prometheus");
        let mut command = Command::new(tool("prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data(directory)))
            .arg(format!("--web.listen-address={}", self.address))
            .args(["--web.enable-remote-write-receiver", "--log.level=warn"]);
        command
    }

    fn victoria_metrics(&self) -> Command {
        let mut command = Command::new(tool("victoria-metrics"));
        command
            .arg(format!("-storageDataPath={}", data(self.directory.path())))
            .arg(format!("-httpListenAddr={}", self.address))
            // Answers from the newest samples, not from half a minute ago.
            .args(["-search.latencyOffset=0s", "-search.disableCache", "-retentionPeriod=1"])
            .args(["-memory.allowedBytes=256MB", "-loggerLevel=WARN"]);
        command
    }
}

fn data(directory: &Path) -> String {
    directory.join("data").display().to_string()
}

fn tool(name: &str) -> std::path::PathBuf {
    find_tool(name).unwrap_or_else(|| panic!("{name} is not installed; the test requires it first"))
}

fn scrape_config(agent: SocketAddr) -> String {
    format!(
        "scrape_configs:\n  - job_name: pull\n    scrape_interval: 1s\n    honor_labels: true\n    \
         static_configs: [{{ targets: ['{agent}'] }}]\n"
    )
}
