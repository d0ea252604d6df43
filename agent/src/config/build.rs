//! From what was given to what it means. Every value is judged, whatever was wrong with the ones before it.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use sonde_collector::config::{Problems, QueueConfig, RemoteWriteTarget, Secret, problems_of_targets};
use sonde_collector::http::{ListenConfig, ListenTls};
use sonde_collector::units::{parse_bytes, parse_duration};
use tracing_subscriber::EnvFilter;

use crate::cloud::{CloudInfo, CloudSettings, MetadataService};
use crate::gpu::Library;
use crate::shares::MIN_OF_CONTAINER;

use super::settings::setting;
use super::sources::{Given, Sources};
use super::{Config, Probe, ProbeSwitches, RuntimeSocket, Switch};

/// Name of the target that `--collector` makes.
const COLLECTOR_TARGET: &str = "collector";
/// Header in which a collector expects its key.
const API_KEY_HEADER: &str = "X-API-Key";

pub(super) fn build(sources: Sources, problems: &mut Problems) -> Config {
    let mut read = Reader { sources, problems };
    Config {
        listen: read.listen(),
        targets: read.targets(),
        queue: read.queue(),
        scrape_interval: read.duration("scrape-interval", Duration::from_secs(1)..=Duration::from_secs(3600)),
        container_allow: read.regexes("container-allow"),
        container_deny: read.regexes("container-deny"),
        container_loopback: read.switch("container-loopback"),
        hide_system_services: read.switch("hide-system-services"),
        min_container_age: read.duration("min-container-age", Duration::ZERO..=Duration::from_secs(86_400)),
        forget_after: read.duration("forget-after", Duration::from_secs(10)..=Duration::from_secs(86_400)),
        max_series_per_container: read.number("max-series-per-container", MIN_OF_CONTAINER..=1_000_000),
        max_series: read.number("max-series", 1_000..=10_000_000),
        ephemeral_ports: read.ephemeral_ports(),
        networks: read.networks(),
        zone: read.zone(),
        probes: read.probes(),
        program_statistics: read.switch("program-statistics"),
        runtime_sockets: read.runtime_sockets(),
        kubernetes: read.kubernetes(),
        proc_root: read.proc_root(),
        cgroup_root: read.absolute_path("cgroup-root"),
        sys_root: read.absolute_path("sys-root"),
        cloud: read.cloud(),
        gpu_library: read.gpu_library(),
        btf: read.absolute_path("btf"),
        log_level: read.log_level(),
        shutdown_timeout: read
            .duration("shutdown-timeout", Duration::from_secs(1)..=Duration::from_secs(300)),
    }
}

pub(super) struct Reader<'a> {
    pub(super) sources: Sources,
    pub(super) problems: &'a mut Problems,
}

impl Reader<'_> {
    /// The value of a setting, its default when none was given; `None` when it has neither.
    pub(super) fn text(&self, name: &str) -> Option<Given> {
        let given = self.sources.all(name).last().cloned();
        let setting = setting(name);
        let default = (!setting.default.is_empty()).then(|| Given::new(setting, name, setting.default));
        given.or(default)
    }

    /// Parses the value of a setting that has a default. A wrong one is reported, and the default stands in for it,
    /// so that the others are judged too.
    fn parse<T, E: ToString>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> T {
        let given = self.text(name).expect("a setting with a default has a value");
        parse(&given.text).unwrap_or_else(|error| {
            self.problem(&given, error.to_string());
            parse(setting(name).default).ok().expect("the default of a setting is valid")
        })
    }

    pub(super) fn problem(&mut self, given: &Given, message: impl Into<String>) {
        self.problems.push(&given.path, message, given.setting.allowed);
    }

    fn duration(&mut self, name: &str, allowed: RangeInclusive<Duration>) -> Duration {
        self.parse(name, |text| {
            let duration = parse_duration(text).map_err(|error| error.to_string())?;
            if allowed.contains(&duration) { Ok(duration) } else { Err(format!("`{text}` is out of range")) }
        })
    }

    fn number(&mut self, name: &str, allowed: RangeInclusive<usize>) -> usize {
        self.parse(name, |text| {
            let number = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
            if allowed.contains(&number) { Ok(number) } else { Err(format!("`{text}` is out of range")) }
        })
    }

    pub(super) fn switch(&mut self, name: &str) -> bool {
        self.parse(name, |text| text.parse().map_err(|_| format!("`{text}` is neither true nor false")))
    }

    fn absolute_path(&mut self, name: &str) -> PathBuf {
        self.parse(name, |text| {
            let path = PathBuf::from(text);
            if path.is_absolute() { Ok(path) } else { Err(format!("`{text}` is not absolute")) }
        })
    }

    fn proc_root(&mut self) -> PathBuf {
        self.parse("proc-root", |text| {
            let path = PathBuf::from(text);
            if path.join("1").is_dir() { Ok(path) } else { Err(format!("`{text}` is not a procfs")) }
        })
    }

    /// A file that must be readable now, rather than when it is first needed.
    pub(super) fn file(&mut self, name: &str) -> Option<PathBuf> {
        let given = self.text(name)?;
        if let Err(error) = std::fs::File::open(Path::new(&given.text)) {
            self.problem(&given, format!("cannot read {}: {error}", given.text));
        }
        Some(given.text.into())
    }

    fn cloud(&mut self) -> CloudSettings {
        let overrides = CloudInfo {
            provider: self.cloud_name("provider").to_lowercase(),
            region: self.cloud_name("region"),
            availability_zone: self.cloud_name("availability-zone"),
            instance_type: self.cloud_name("instance-type"),
            instance_life_cycle: self.cloud_name("instance-life-cycle"),
            ..CloudInfo::default()
        };
        let metadata = self.parse("cloud-metadata-url", |text| match text {
            "auto" => Ok(MetadataService::Documented),
            "none" => Ok(MetadataService::Never),
            url => url.parse().map(MetadataService::At),
        });
        CloudSettings { overrides, metadata }
    }

    fn gpu_library(&mut self) -> Library {
        self.parse("gpu-library", |text| match text {
            "auto" => Ok(Library::Usual),
            "none" => Ok(Library::Never),
            path if Path::new(path).is_absolute() => Ok(Library::At(path.into())),
            path => Err(format!("`{path}` is not absolute")),
        })
    }

    /// What a cloud names something; empty when nothing was given.
    fn cloud_name(&mut self, name: &str) -> String {
        const MAX_BYTES: usize = 128;
        let Some(given) = self.text(name) else { return String::new() };
        let may_stand = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if !given.text.chars().all(may_stand) || given.text.len() > MAX_BYTES {
            self.problem(&given, format!("`{}` is no name of a cloud", given.text));
        }
        given.text
    }

    fn listen(&mut self) -> ListenConfig {
        let addr = self.parse("listen", |text| {
            text.parse::<SocketAddr>().map_err(|_| format!("`{text}` is not an address with a port"))
        });
        let auth = self.file("listen-auth");
        let names = ["listen-tls-cert", "listen-tls-key", "listen-tls-client-ca"];
        let tls = match names.map(|name| self.file(name)) {
            [None, None, None] => None,
            [Some(cert), Some(key), client_ca] => Some(ListenTls { cert, key, client_ca }),
            [cert, _, _] => {
                let missing = if cert.is_some() { "listen-tls-key" } else { "listen-tls-cert" };
                self.problems.push(
                    missing,
                    "missing beside the other listen-tls settings",
                    "a readable PEM file",
                );
                None
            }
        };
        ListenConfig { tls, auth, ..ListenConfig::new(addr) }
    }

    fn targets(&mut self) -> Vec<RemoteWriteTarget> {
        let mut targets = std::mem::take(&mut self.sources.targets);
        for given in self.sources.all("remote-write") {
            targets.push(given.text.parse().unwrap_or_else(|never| match never {}));
        }
        self.problems.extend(problems_of_targets(&targets));
        if let Some(collector) = self.collector() {
            self.problems.extend(collector.problems(COLLECTOR_TARGET));
            if targets.iter().any(|target| target.identity() == COLLECTOR_TARGET) {
                let message = format!("a remote-write target is named `{COLLECTOR_TARGET}` already");
                self.problems.push(COLLECTOR_TARGET, message, "another name for that target");
            }
            targets.push(collector);
        }
        targets
    }

    /// The collector as a target: its base address with the path for metrics, and its key in a header.
    fn collector(&mut self) -> Option<RemoteWriteTarget> {
        let key = self.text("api-key");
        let Some(base) = self.text("collector") else {
            // A variable of so common a name may be meant for some other program.
            if let Some(key) = key.filter(|key| key.path != "API_KEY") {
                self.problem(&key, "given without a collector");
            }
            return None;
        };
        let url = format!("{}/v1/metrics", base.text.trim_end_matches('/'));
        let mut target: RemoteWriteTarget = url.parse().unwrap_or_else(|never| match never {});
        target.name = Some(COLLECTOR_TARGET.to_owned());
        target.headers.extend(key.map(|key| (API_KEY_HEADER.to_owned(), Secret::new(key.text))));
        Some(target)
    }

    fn queue(&mut self) -> QueueConfig {
        let queue = QueueConfig {
            data_dir: self.parse("data-dir", |text| Ok::<_, String>(PathBuf::from(text))),
            max_bytes: self.parse("queue-max-bytes", parse_bytes),
            max_age: self.parse("queue-max-age", parse_duration),
        };
        self.problems.extend(queue.problems());
        queue
    }

    fn regexes(&mut self, name: &str) -> Vec<Regex> {
        let mut regexes = Vec::new();
        for given in self.sources.all(name).to_vec() {
            match Regex::new(&given.text) {
                Ok(regex) => regexes.push(regex),
                // The whole error draws the expression over several lines; its last line says what is wrong.
                Err(error) => {
                    let text = error.to_string();
                    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    self.problem(&given, format!("`{}`: {reason}", given.text));
                }
            }
        }
        regexes
    }

    fn runtime_sockets(&mut self) -> Vec<RuntimeSocket> {
        let mut sockets = Vec::new();
        for given in self.sources.all("runtime-socket").to_vec() {
            match given.text.parse() {
                Ok(socket) => sockets.push(socket),
                Err(error) => self.problem(&given, error),
            }
        }
        sockets
    }

    fn ephemeral_ports(&mut self) -> Option<RangeInclusive<u16>> {
        self.parse("ephemeral-port-range", |text| {
            if text == "none" {
                return Ok(None);
            }
            let ports =
                text.split_once('-').and_then(|(low, high)| Some(low.parse().ok()?..=high.parse().ok()?));
            match ports {
                Some(ports) if *ports.start() > 0 && !ports.is_empty() => Ok(Some(ports)),
                _ => Err(format!("`{text}` is not a range of ports")),
            }
        })
    }

    fn probes(&mut self) -> ProbeSwitches {
        let mut switches = ProbeSwitches::default();
        for given in self.sources.all("probe").to_vec() {
            let (name, switch) = given.text.split_once('=').unwrap_or((&given.text, ""));
            match (Probe::named(name), Switch::named(switch)) {
                (Some(probe), Some(switch)) => switches.set(probe, switch),
                (None, _) => self.problem(&given, format!("no probe `{name}`")),
                (_, None) => self.problem(&given, format!("`{}` does not say on, off or auto", given.text)),
            }
        }
        switches
    }

    fn log_level(&mut self) -> String {
        // Levels and modules are ASCII; on anything else the filter's parser may panic.
        let is_filter = |text: &str| text.is_ascii() && EnvFilter::try_new(text).is_ok();
        self.parse("log-level", |text| match is_filter(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("`{text}` is not a level")),
        })
    }
}
