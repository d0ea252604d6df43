//! Every setting: its names, its default, what it may be. The command line, the environment, the file's keys and the
//! reference page are all made from this table, so they cannot disagree.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The flag without dashes; in the file with `_` for `-`, in the environment as `SONDE_…` in upper case.
    pub name: &'static str,
    /// Placeholder of the value in the help.
    pub value: &'static str,
    /// Whether it may be given several times.
    pub repeatable: bool,
    /// Value when nothing is given; empty for none.
    pub default: &'static str,
    /// What it may be, for messages and the reference.
    pub allowed: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Flag of coroot-node-agent with the same meaning; also accepted, and as its environment variable.
    pub coroot: Option<&'static str>,
}

impl Setting {
    const fn one(
        name: &'static str,
        value: &'static str,
        default: &'static str,
        allowed: &'static str,
    ) -> Self {
        Self { name, value, repeatable: false, default, allowed, help: "", coroot: None }
    }

    const fn many(name: &'static str, value: &'static str, allowed: &'static str) -> Self {
        Self { name, value, repeatable: true, default: "", allowed, help: "", coroot: None }
    }

    /// A setting that is on or off; as a flag it needs no value to be on.
    const fn switch(name: &'static str, default: &'static str) -> Self {
        Self::one(name, SWITCH, default, "true or false")
    }

    /// Whether it is on or off.
    pub fn is_switch(&self) -> bool {
        self.value == SWITCH
    }

    const fn coroot(self, name: &'static str) -> Self {
        Self { coroot: Some(name), ..self }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// Name in the file.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Names in the environment, ours first.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        let upper = |name: &str| name.replace('-', "_").to_uppercase();
        std::iter::once(format!("SONDE_{}", upper(self.name))).chain(self.coroot.map(upper))
    }
}

/// Placeholder of a value that says on or off.
const SWITCH: &str = "BOOL";

/// The file of settings itself.
pub static CONFIG: Setting = Setting::one("config", "FILE", "", "a TOML file")
    .help("Read settings from this file; flags and environment win");

/// What a cloud may name something.
const CLOUD_NAME: &str = "ASCII letters, digits and - _ . : /; 128 at most";

/// All settings but [`CONFIG`], in the order of the help.
pub static SETTINGS: &[Setting] = &[
    Setting::one("listen", "ADDRESS", "0.0.0.0:10300", "IP:PORT")
        .coroot("listen")
        .help("Serve /metrics, /healthz, /readyz and /status on this address"),
    Setting::one("listen-tls-cert", "FILE", "", "a readable PEM file; needs listen-tls-key")
        .help("Serve over TLS with this certificate chain"),
    Setting::one("listen-tls-key", "FILE", "", "a readable PEM file; needs listen-tls-cert")
        .help("Key of the certificate"),
    Setting::one("listen-tls-client-ca", "FILE", "", "a readable PEM file; needs listen-tls-cert")
        .help("Demand client certificates of these authorities"),
    Setting::one("listen-auth", "FILE", "", "a readable file")
        .help("Demand credentials of this file: lines of `bearer TOKEN` or `basic USER:PASSWORD`"),
    Setting::many("remote-write", "URL", "http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
        .help("Push to this remote-write receiver; credentials and TLS by [[remote_write]] in the file"),
    Setting::one("collector", "URL", "", "http://HOST[:PORT] or https://HOST[:PORT]")
        .coroot("collector-endpoint")
        .help("Push to this sonde-collector or Coroot server"),
    Setting::one("api-key", "KEY", "", "visible ASCII; needs collector")
        .coroot("api-key")
        .help("Key for the collector, sent as X-API-Key"),
    Setting::one("scrape-interval", "DURATION", "15s", "1s to 1h")
        .coroot("scrape-interval")
        .help("Time between two pushes"),
    Setting::one("data-dir", "DIRECTORY", "/var/lib/sonde/agent", "a directory that no other process uses")
        .coroot("wal-dir")
        .help("Keep what was not pushed yet here; untouched without a target"),
    Setting::one("queue-max-bytes", "SIZE", "500MB", "8MB to 100TB")
        .coroot("max-spool-size")
        .help("Drop the oldest samples above this size"),
    Setting::one("queue-max-age", "DURATION", "24h", "1m to 365d")
        .help("Drop samples that no target took for so long"),
    Setting::many("container-allow", "REGEX", "a regular expression")
        .coroot("container-allowlist")
        .help("Show only containers whose container_id matches one of these"),
    Setting::many("container-deny", "REGEX", "a regular expression")
        .coroot("container-denylist")
        .help("Hide containers whose container_id matches one of these"),
    Setting::switch("container-loopback", "false")
        .help("Also tell destinations, failed attempts and listen addresses on the loopback of containers' own network namespaces, as of a sidecar; a Coroot server takes such addresses for the node's"),
    Setting::switch("hide-system-services", "false")
        .coroot("skip-systemd-system-services")
        .help("Hide systemd's own services, and those that run once, by a timer, or for the bus"),
    Setting::one("min-container-age", "DURATION", "0s", "0s to 24h")
        .coroot("min-container-age")
        .help("Hide younger containers; their counts are kept until they are shown"),
    Setting::one("forget-after", "DURATION", "10m", "10s to 24h").help(
        "End the series of containers that are gone and of destinations without connections after so long",
    ),
    Setting::one("max-series-per-container", "NUMBER", "10000", "100 to 1000000")
        .help("Fold destinations and listeners of a container, each kind in its share, before it has more series"),
    Setting::one("max-series", "NUMBER", "200000", "1000 to 10000000")
        .help("Leave out series of the containers with the most when all have more together"),
    Setting::one("ephemeral-port-range", "RANGE", "none", "none, or LOW-HIGH with ports from 1 to 65535")
        .coroot("ephemeral-port-range")
        .help("Fold destinations with a port in this range into one"),
    Setting::many(
        "network",
        "CIDR=ZONE[/CLASS]",
        "CIDR=ZONE, CIDR=ZONE/CLASS or CIDR=/CLASS; names of up to 64 letters, digits, `.`, `_` and `-`; up to 1024 networks",
    )
    .help("Add up the node's traffic with this network under its zone and class; the longest one that holds an address counts"),
    Setting::one("zone", "NAME", "", "up to 64 letters, digits, `.`, `_` and `-`")
        .help("The zone this node is in; found from the cloud or from the networks when absent"),
    Setting::many(
        "probe",
        "NAME=SWITCH",
        "NAME of tcp, process, block, cgroup, net, udp, dns, runqueue, block-latency, drops; SWITCH of on, off, auto",
    )
    .help("Turn a probe on, off, or leave it to what the kernel can do; runqueue, block-latency and drops are off by default"),
    Setting::switch("program-statistics", "false")
        .help("Count and time the runs of the kernel programs, which costs more than most of them; always on beside optional probes"),
    Setting::many("runtime-socket", "KIND=PATH", "KIND of docker, podman, containerd, cri; an absolute PATH")
        .help("Ask this container runtime too, before those at the usual places; of podman also its containers.json"),
    Setting::one("provider", "NAME", "", CLOUD_NAME)
        .coroot("provider")
        .help("Cloud provider to show, whatever the firmware says"),
    Setting::one("region", "NAME", "", CLOUD_NAME)
        .coroot("region")
        .help("Region to show, whatever the provider says"),
    Setting::one("availability-zone", "NAME", "", CLOUD_NAME)
        .coroot("availability-zone")
        .help("Availability zone to show, whatever the provider says"),
    Setting::one("instance-type", "NAME", "", CLOUD_NAME)
        .coroot("instance-type")
        .help("Type of the machine to show, whatever the provider says"),
    Setting::one("instance-life-cycle", "NAME", "", CLOUD_NAME)
        .coroot("instance-life-cycle")
        .help("Life cycle of the machine to show, whatever the provider says"),
    Setting::one("cloud-metadata-url", "URL", "auto", "auto, none, or http://HOST[:PORT]")
        .help("Metadata service of the cloud provider; auto asks the one that the provider documents, if the firmware names a provider (over HTTP: not IBM's with secure access)"),
    Setting::one("gpu-library", "FILE", "auto", "auto, none, or an absolute path")
        .help("NVIDIA's management library; auto looks where drivers put it on the host, then here; of drivers before 510 a GPU's memory is not shown"),
    Setting::one("sys-root", "DIRECTORY", "/sys", "an absolute path")
        .help("Where a sysfs of the host is mounted; the firmware's table (DMI) is read there"),
    Setting::one("kubelet", "URL", "", "http://HOST:PORT or https://HOST:PORT; not beside kubernetes-api")
        .help("Ask this kubelet for labels and owners of pods"),
    Setting::one("kubernetes-api", "URL", "", "http://HOST[:PORT] or https://HOST[:PORT]; needs kubernetes-node")
        .help("Ask this API server for labels and owners of the node's pods"),
    Setting::one("kubernetes-node", "NAME", "", "the node's name in Kubernetes; only beside kubelet or kubernetes-api")
        .help("Name of this node, whose pods the API server is asked for"),
    Setting::one(
        "kubernetes-token",
        "FILE",
        "",
        "a readable file; only beside kubelet or kubernetes-api, by https:// or to a loopback address",
    )
        .help("Bearer token for kubelet or API server, read anew for every question"),
    Setting::one("kubernetes-ca", "FILE", "", "a readable PEM file; only beside kubelet or kubernetes-api")
        .help("Trust these authorities for kubelet or API server"),
    Setting::switch("kubernetes-skip-verify", "false")
        .help("Accept any certificate of kubelet or API server"),
    Setting::many("kubernetes-label", "NAME", "the name of a pod label; at most 16; only beside kubelet or kubernetes-api")
        .help("Show this label of pods in container_kubernetes_info"),
    Setting::one("proc-root", "DIRECTORY", "/proc", "a procfs of the initial PID namespace")
        .help("Where the host's procfs is mounted"),
    Setting::one("cgroup-root", "DIRECTORY", "/sys/fs/cgroup", "an absolute path")
        .coroot("cgroupfs-root")
        .help("Where the host's cgroups are mounted"),
    Setting::one("btf", "FILE", "/sys/kernel/btf/vmlinux", "an absolute path")
        .help("Type information of the running kernel"),
    Setting::one(
        "log-level",
        "LEVEL",
        "info",
        "error, warn, info, debug or trace; also MODULE=LEVEL, by commas",
    )
    .help("How much to log"),
    Setting::one("shutdown-timeout", "DURATION", "10s", "1s to 5m")
        .help("Time for an orderly end after SIGTERM or SIGINT"),
];

/// The setting with this name, of those in [`SETTINGS`].
///
/// # Panics
/// When there is none: a misspelt name in the code.
pub fn setting(name: &str) -> &'static Setting {
    SETTINGS
        .iter()
        .find(|setting| setting.name == name)
        .expect("the table has every setting that is asked for")
}
