//! The product's two binaries as guarded processes.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::exposition::Exposition;
use crate::process::{self, Process, free_address};
use crate::{http, wait};

/// The name of a series, labels that it must have, and its value.
pub type Expected<'e> = (&'e str, &'e [(&'e str, &'e str)], f64);

/// `sonde-agent` or `sonde-collector` with its own port and data directory; it can be killed and started again on
/// both. Scrapes every second.
#[derive(Debug)]
pub struct Sonde {
    binary: &'static str,
    address: SocketAddr,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    /// Before its directory, so that it ends first.
    process: Option<Process>,
    directory: TempDir,
}

impl Sonde {
    /// An agent that is not running yet. It tells the loopback of other namespaces as well: most namespaces of the tests have
    /// nothing else.
    pub fn agent() -> Self {
        Self::new("sonde-agent").with("--scrape-interval", "1s").with_env("SONDE_CONTAINER_LOOPBACK", "true")
    }

    /// A collector that is not running yet.
    pub fn collector() -> Self {
        Self::new("sonde-collector")
    }

    fn new(binary: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("create a directory for the product");
        let address = free_address();
        let data = directory.path().join("data");
        Self {
            binary,
            address,
            directory,
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            process: None,
        }
        .with("--listen", address.to_string())
        .with("--data-dir", data)
    }

    /// Adds a flag with its value; a flag that takes one value replaces its earlier one.
    #[must_use]
    pub fn with(mut self, flag: &str, value: impl Into<OsString>) -> Self {
        let repeatable = ["--remote-write", "--probe", "--runtime-socket", "--network", "--kubernetes-label"]
            .contains(&flag);
        if let Some(at) = self.arguments.iter().position(|known| known == flag).filter(|_| !repeatable) {
            self.arguments[at + 1] = value.into();
        } else {
            self.arguments.extend([flag.into(), value.into()]);
        }
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it behind another command, which must become it under the same process id.
    #[must_use]
    pub fn behind(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    #[track_caller]
    pub fn start(mut self) -> Self {
        self.resume();
        self
    }

    /// Starts it and waits for nothing: it may well end by itself.
    #[must_use]
    pub fn launch(mut self) -> Self {
        self.spawn();
        self
    }

    /// Starts it again after [`Sonde::kill`] or [`Sonde::stop`], with the same arguments, port and data.
    #[track_caller]
    pub fn resume(&mut self) {
        self.spawn();
        let address = self.address;
        let process = self.process.as_mut().expect("it was started just now");
        wait::until(&format!("{} to be ready", self.binary), || {
            process.assert_running();
            let answer = http::get(address, "/readyz", &[])?;
            anyhow::ensure!(answer.status == 200, "it answers {}: {}", answer.status, answer.text());
            Ok(())
        });
    }

    fn spawn(&mut self) {
        let program = process::product(self.binary);
        let mut words = self.wrapper.iter().cloned().chain([program.into_os_string()]);
        let mut command = Command::new(words.next().expect("the program is always there"));
        command.args(words).args(&self.arguments).envs(self.environment.iter().cloned());
        self.process = Some(Process::start(self.binary, command, self.directory.path()));
    }

    /// `kill -9`.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("it is running").kill();
    }

    /// SIGTERM; panics when it does not end with exit code 0.
    #[track_caller]
    pub fn stop(&mut self) {
        let status = self.process.as_mut().expect("it is running").terminate();
        assert!(status.success(), "{} ended with {}", self.binary, process::describe(status));
        self.process = None;
    }

    /// The running process.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    /// Where it listens, running or not.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        let at = self.arguments.iter().position(|known| known == "--data-dir");
        PathBuf::from(&self.arguments[at.expect("the data directory is always given") + 1])
    }

    /// A directory of the test beside the data directory.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Everything it has logged since its first start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join(format!("{}.log", self.binary)))
            .unwrap_or_default()
    }

    /// The URL that takes remote write.
    pub fn remote_write(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Scrapes `/metrics` as text.
    ///
    /// # Errors
    /// When it does not answer with 200 or the answer is not the text format.
    pub fn metrics(&self) -> anyhow::Result<Exposition> {
        let answer = http::get(self.address, "/metrics", &[])?;
        anyhow::ensure!(answer.status == 200, "/metrics answers {}", answer.status);
        Exposition::parse(&answer.text())
    }

    /// Asks for `/status`.
    #[track_caller]
    pub fn status(&self) -> Value {
        let answer = http::get(self.address, "/status", &[]).expect("ask for /status");
        assert_eq!(answer.status, 200, "/status answers {}", answer.text());
        serde_json::from_slice(&answer.body).expect("/status is JSON")
    }

    /// Waits until `/metrics` has all these values, and still has them two snapshots later.
    #[track_caller]
    pub fn expect(&self, expected: &[Expected<'_>]) {
        for (name, labels, value) in expected {
            wait::until(&format!("{name}{labels:?} to be {value}"), || {
                let seen = self.metrics().and_then(|metrics| metrics.value(name, labels));
                wait::equal(seen.map_err(|error| format!("{error:#}"))?, *value)
            });
        }
        let uptime = |metrics: &Exposition| metrics.value("node_uptime_seconds", &[]);
        let matched = uptime(&self.metrics().expect("scrape")).expect("the node's uptime");
        let later = wait::until("a later snapshot", || {
            let metrics = self.metrics()?;
            // The snapshot in progress may have begun before the match.
            anyhow::ensure!(uptime(&metrics)? > matched + 1.5, "the snapshot is not newer");
            Ok(metrics)
        });
        for (name, labels, value) in expected {
            let seen = later.value(name, labels).expect("the series is still there");
            assert!(seen.total_cmp(value).is_eq(), "{name}{labels:?} went on from {value} to {seen}");
        }
    }
}
