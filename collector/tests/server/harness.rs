//! Requests, pipelines, and the real program as a child process.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sonde_collector::config::{QueueConfig, RemoteWriteTarget};
use sonde_collector::wire::remote_write::{Label, Sample, TimeSeries, WriteRequest};
use sonde_collector::{Pipeline, PipelineConfig};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// One series with one sample.
pub fn series(name: &str, timestamp: i64, value: f64) -> TimeSeries {
    TimeSeries {
        labels: vec![Label { name: "__name__".into(), value: name.into() }],
        samples: vec![Sample { value, timestamp }],
        ..TimeSeries::default()
    }
}

pub fn request(timeseries: Vec<TimeSeries>) -> WriteRequest {
    WriteRequest { timeseries, metadata: vec![] }
}

pub async fn open(dir: &Path, targets: Vec<RemoteWriteTarget>) -> Pipeline {
    let config = PipelineConfig { queue: QueueConfig::new(dir), targets, user_agent: "test/1".into() };
    Pipeline::open(config).await.unwrap()
}

pub fn target(url: &str) -> RemoteWriteTarget {
    RemoteWriteTarget { name: Some("t".into()), ..url.parse().unwrap() }
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < DEADLINE, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The program; killed when dropped.
pub struct Server {
    child: Child,
    pub base: String,
}

impl Server {
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sonde-collector"))
            .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("ended without listening: {seen:?}") };
            if let Some((_, address)) = line.split_once("address=") {
                break address.to_string();
            }
            seen.push(line);
        };
        // Whoever writes to a closed pipe dies: the rest is read to the end.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, base: format!("http://{address}") }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// The exit code, once it ended.
    pub async fn ended(&mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begin.elapsed() < DEADLINE, "the program did not end in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn write(&self, request: &WriteRequest) -> Result<u16, reqwest::Error> {
        self.post(request.to_snappy(), &[]).await.map(|(status, _)| status)
    }

    pub async fn post(
        &self,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<(u16, String), reqwest::Error> {
        let mut post = client().post(format!("{}/api/v1/write", self.base)).body(body);
        for (name, value) in headers {
            post = post.header(*name, *value);
        }
        let response = post.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    pub async fn get(&self, path: &str) -> String {
        client().get(format!("{}{path}", self.base)).send().await.unwrap().text().await.unwrap()
    }

    /// Value of one of its own metrics.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("sonde_collector_{name} ")))?;
        line.parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn client() -> reqwest::Client {
    let provider = rustls::crypto::ring::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(DEADLINE).build().unwrap()
}
