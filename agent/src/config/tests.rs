use std::collections::HashMap;
use std::io::Write;

use super::*;

struct Case {
    arguments: Vec<String>,
    env: HashMap<&'static str, &'static str>,
    _file: Option<tempfile::NamedTempFile>,
}

fn given(arguments: &[&str]) -> Case {
    let arguments =
        std::iter::once("sonde-agent").chain(arguments.iter().copied()).map(str::to_owned).collect();
    Case { arguments, env: HashMap::new(), _file: None }
}

impl Case {
    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.insert(name, value);
        self
    }

    fn file(mut self, text: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        self.arguments.extend(["--config".to_owned(), file.path().display().to_string()]);
        Self { _file: Some(file), ..self }
    }

    fn read(&self) -> Result<(Command, Config), ConfigError> {
        read(self.arguments.iter().map(OsString::from), |name| {
            self.env.get(name).map(|text| (*text).to_owned())
        })
    }

    fn config(&self) -> Config {
        self.read().unwrap_or_else(|error| panic!("{:?}: {error}", self.arguments)).1
    }

    fn problems(&self) -> Vec<String> {
        match self.read() {
            Err(ConfigError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_given_means_the_defaults() {
    let (command, config) = given(&[]).read().unwrap();
    assert_eq!(command, Command::Run);
    assert_eq!(config.listen.addr.to_string(), "0.0.0.0:10300");
    assert_eq!(config.scrape_interval, Duration::from_secs(15));
    assert_eq!(config.queue, QueueConfig::new("/var/lib/sonde/agent"));
    assert_eq!(config.max_series_per_container, 10_000);
    assert_eq!(config.ephemeral_ports, None);
    assert_eq!(config.probes, ProbeSwitches::default());
    assert!(config.targets.is_empty() && config.listen.tls.is_none() && config.container_allow.is_empty());
}

#[test]
fn subcommands_take_flags_before_and_behind() {
    for arguments in
        [["--log-level", "debug", "doctor", "--json"], ["doctor", "--json", "--log-level", "debug"]]
    {
        let (command, config) = given(&arguments).read().unwrap();
        assert_eq!((command, &*config.log_level), (Command::Doctor { json: true }, "debug"));
    }
    assert_eq!(given(&["run"]).read().unwrap().0, Command::Run);
    assert_eq!(given(&["check-config"]).read().unwrap().0, Command::CheckConfig);
}

#[test]
fn sockets_of_runtimes_are_given_by_kind() {
    let config = given(&["--runtime-socket", "cri=/run/a.sock"]).config();
    assert_eq!(config.runtime_sockets, ["cri=/run/a.sock".parse().unwrap()]);
    let config = given(&[]).env("SONDE_RUNTIME_SOCKET", "podman=/b docker=unix:///c").config();
    assert_eq!(config.runtime_sockets, ["podman=/b".parse().unwrap(), "docker=/c".parse().unwrap()]);
    let problems =
        given(&["--runtime-socket", "rkt=/run/a.sock", "--runtime-socket", "cri=a.sock"]).problems();
    let allowed = "KIND of docker, podman, containerd, cri; an absolute PATH";
    let expected = [
        format!("--runtime-socket: `rkt` is no runtime (allowed: {allowed})"),
        format!("--runtime-socket: `a.sock` is not an absolute path (allowed: {allowed})"),
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "scrape_interval = '1m'\nqueue_max_age = '2h'\nmin_container_age = '3s'";
    let config = given(&["--scrape-interval", "20s"])
        .env("SONDE_SCRAPE_INTERVAL", "30s")
        .env("SONDE_QUEUE_MAX_AGE", "1h")
        .file(file)
        .config();
    assert_eq!(config.scrape_interval, Duration::from_secs(20));
    assert_eq!(config.queue.max_age, Duration::from_secs(3600));
    assert_eq!(config.min_container_age, Duration::from_secs(3));
}

#[test]
fn of_a_flag_given_twice_the_last_one_counts() {
    let config = given(&["--listen", "127.0.0.1:1", "run", "--listen", "127.0.0.1:2"]).config();
    assert_eq!(config.listen.addr.port(), 2);
    let config = given(&["--btf", "/a", "--btf", "/b"]).config();
    assert_eq!(config.btf, PathBuf::from("/b"));
}

#[test]
fn names_of_coroot_mean_the_same() {
    let config = given(&["--collector-endpoint", "http://coroot:8080/", "--container-denylist", "^/a"])
        .env("API_KEY", "hunter2")
        .env("MAX_SPOOL_SIZE", "100MB")
        .env("CGROUPFS_ROOT", "/host/sys/fs/cgroup")
        .config();
    assert_eq!(config.targets[0].shown_url(), "http://coroot:8080/v1/metrics");
    assert_eq!(config.targets[0].headers["X-API-Key"].expose(), "hunter2");
    assert_eq!(config.container_deny[0].as_str(), "^/a");
    assert_eq!(config.queue.max_bytes, 100_000_000);
    assert_eq!(config.cgroup_root, PathBuf::from("/host/sys/fs/cgroup"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn our_own_variable_wins_over_the_one_of_coroot() {
    let config = given(&[]).env("LISTEN", "127.0.0.1:1").env("SONDE_LISTEN", "127.0.0.1:2").config();
    assert_eq!(config.listen.addr.port(), 2);
}

#[test]
fn a_key_for_somebody_else_is_no_problem() {
    assert!(given(&[]).env("API_KEY", "hunter2").config().targets.is_empty());
    assert_eq!(given(&[]).env("SONDE_API_KEY", "hunter2").problems().len(), 1);
}

#[test]
fn lists_come_from_repeated_flags_from_spaces_and_from_arrays() {
    let urls = |config: Config| config.targets.iter().map(RemoteWriteTarget::shown_url).collect::<Vec<_>>();
    let expected = ["http://a/w", "http://b/w"];
    assert_eq!(
        urls(given(&["--remote-write", "http://a/w", "--remote-write", "http://b/w"]).config()),
        expected
    );
    assert_eq!(urls(given(&[]).env("SONDE_REMOTE_WRITE", " http://a/w  http://b/w").config()), expected);
    assert_eq!(
        urls(given(&[]).file("remote_write = ['http://a/w', { url = 'http://b/w' }]").config()),
        expected
    );
    let both = given(&["--remote-write", "http://c/w"]).file("[[remote_write]]\nurl = 'http://a/w'");
    assert_eq!(urls(both.config()), ["http://c/w"]);
}

#[test]
fn a_target_that_is_wrong_is_reported_once_and_by_its_own_name() {
    let problems = given(&["--remote-write", "not a url", "--collector", "ftp://host"]).problems();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("remote_write[0].url: `not a url` is not a URL"), "{problems:?}");
    assert!(
        problems[1].starts_with("collector.url: scheme `ftp` of `ftp://host/v1/metrics`"),
        "{problems:?}"
    );
    let twice =
        given(&["--collector", "http://h"]).file("[[remote_write]]\nurl = 'http://a'\nname = 'collector'");
    assert_eq!(twice.problems().len(), 1);
}

#[test]
fn probes_are_switched_by_flag_and_by_table() {
    let config = given(&["--probe", "tcp=off", "--probe", "cgroup=on"]).config();
    assert_eq!(
        [Probe::Tcp, Probe::Process, Probe::Cgroup].map(|probe| config.probes.get(probe)),
        [Switch::Off, Switch::Auto, Switch::On]
    );
    let config = given(&["--probe", "tcp=off", "run", "--probe", "cgroup=on"]).config();
    assert_eq!(
        [Probe::Tcp, Probe::Process, Probe::Cgroup].map(|probe| config.probes.get(probe)),
        [Switch::Off, Switch::Auto, Switch::On]
    );
    let config = given(&[]).file("[probe]\nprocess = 'off'").config();
    assert_eq!(
        [Probe::Tcp, Probe::Process, Probe::Cgroup].map(|probe| config.probes.get(probe)),
        [Switch::Auto, Switch::Off, Switch::Auto]
    );
}

#[test]
fn a_range_of_ports_includes_its_ends() {
    let config = given(&["--ephemeral-port-range", "32768-60999"]).config();
    assert_eq!(config.ephemeral_ports, Some(32768..=60999));
}

#[test]
fn what_is_out_of_range_is_refused() {
    let check = |flag: &str, bad: &[&str], good: &[&str]| {
        for value in bad {
            assert_eq!(given(&[flag, value]).problems().len(), 1, "{flag} {value}");
        }
        for value in good {
            given(&[flag, value]).config();
        }
    };
    check("--max-series-per-container", &["99", "1000001", "-1", "1e3"], &["100", "1000000"]);
    check("--scrape-interval", &["999ms", "61m", "15"], &["1s", "1h"]);
    check("--min-container-age", &["25h"], &["0s", "24h"]);
    check("--shutdown-timeout", &["0s", "6m"], &["1s", "5m"]);
    check("--ephemeral-port-range", &["0-1", "2-1", "1-65536", "1", ""], &["none", "1-65535", "7-7"]);
    check("--listen", &[":80", "localhost:80", "1.2.3.4"], &["[::]:80", "127.0.0.1:0"]);
    check("--cgroup-root", &["relative", ""], &["/anything"]);
    check("--log-level", &["lou=d", "=="], &["error", "info,sonde_agent::push=trace"]);
    check("--probe", &["tcp", "tcp=yes", "=on"], &["tcp=auto"]);
}

#[test]
fn all_problems_are_reported_together() {
    let file = "lisen = '1'\nqueue_max_age = 5\ncontainer_allow = ['(']\nlog_level = true\n\
                [[remote_write]]\nurl = 'http://a/w'\nuser = 'x'\n[probe]\nufo = 'on'";
    let problems = given(&["--listen", "nowhere", "--scrape-interval", "0s", "--api-key", "hunter2"])
        .env("SONDE_EPHEMERAL_PORT_RANGE", "9-1")
        .env("SONDE_LISTEN_TLS_KEY", "/nonexistent/key")
        .file(file)
        .problems();
    let starts = [
        "lisen: no such setting (allowed: listen, ",
        "log_level: is a boolean (allowed: error, ",
        "remote_write[0].user: line 7: unknown field `user`",
        "--listen: `nowhere` is not an address with a port (allowed: IP:PORT)",
        "SONDE_LISTEN_TLS_KEY: cannot read /nonexistent/key: No such file",
        "listen-tls-cert: missing beside",
        "--api-key: given without a collector (allowed: ",
        "queue_max_age: `5` is no duration, expected a number with a unit",
        "--scrape-interval: `0s` is out of range (allowed: 1s to 1h)",
        "container_allow[0]: `(`: unclosed group (allowed: a regular expression)",
        "SONDE_EPHEMERAL_PORT_RANGE: `9-1` is not a range of ports (allowed: none, or LOW-HIGH",
        "probe.ufo: no probe `ufo` (allowed: NAME of tcp, process, block, cgroup, net,",
    ];
    for start in starts {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "no {start:?} in {problems:#?}");
    }
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    assert!(!problems.concat().contains("hunter2"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem_that_shows_no_line_of_it() {
    let problems = given(&["--config", "/nonexistent/sonde.toml"]).problems();
    assert!(
        problems[0].starts_with("--config: cannot read /nonexistent/sonde.toml: No such file"),
        "{problems:?}"
    );
    let target = "listen = '127.0.0.1:1'\n[[remote_write]]\nurl = 'http://h/w'\n";
    for (wrong, expected) in [
        ("basic_auth = 'u:hunter2'", "remote_write[0].basic_auth: line 4: expected a table"),
        ("headers = { key = 4711 }", "remote_write[0].headers.key: line 4: expected a string"),
    ] {
        assert_eq!(given(&[]).file(&format!("{target}{wrong}")).problems(), [expected]);
    }
    let problems = given(&[]).file("listen = '127.0.0.1:1'\napi_key = hunter2").problems();
    assert!(problems[0].contains(" line 2: expected ") && !problems[0].contains("hunter2"), "{problems:?}");
    let problems = given(&[]).file("listen = '127.0.0.1:1'\napi_key = \"hunter2").problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains(" line 2: ") && !problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn every_default_is_valid_and_every_setting_is_read() {
    // Reading panics on a default that is not valid; a setting that nobody reads would accept anything.
    for setting in settings::SETTINGS {
        // Any text is a directory or a key.
        if ["data-dir", "api-key"].contains(&setting.name) {
            continue;
        }
        let flag = format!("--{}=( no such thing", setting.name);
        assert!(!given(&[&flag]).problems().is_empty(), "{flag} is accepted");
    }
}

#[test]
fn a_switch_needs_no_value_to_be_on() {
    let hides = |arguments: &[&str]| given(arguments).read().unwrap().1.hide_system_services;
    assert!(!hides(&[]));
    assert!(hides(&["--hide-system-services"]));
    assert!(hides(&["--skip-systemd-system-services=true", "run"]));
    assert!(!hides(&["--hide-system-services", "--hide-system-services=false"]));
    assert!(given(&[]).file("hide_system_services = true").read().unwrap().1.hide_system_services);
}

#[test]
fn kubernetes_is_asked_only_when_told_whom() {
    use crate::enrich::kubernetes::Endpoint;
    let read = |arguments: &[&str]| given(arguments).read().unwrap().1.kubernetes;
    assert!(read(&[]).is_none());
    let kubelet = read(&["--kubelet=https://127.0.0.1:10250", "--kubernetes-label=team"]).unwrap();
    assert_eq!(kubelet.endpoint, Endpoint::Kubelet("https://127.0.0.1:10250".into()));
    assert_eq!(kubelet.labels[0].label, "label_team");
    let api = read(&["--kubernetes-api=https://10.0.0.1", "--kubernetes-node=node-1"]).unwrap();
    assert_eq!(api.endpoint, Endpoint::Api { url: "https://10.0.0.1".into(), node: "node-1".into() });
    for (arguments, expected) in [
        (&["--kubelet=127.0.0.1"][..], "--kubelet: is no address of a server"),
        (&["--kubelet=https://user:pw@h"], "--kubelet: is no address of a server"),
        (&["--kubernetes-api=https://h"], "--kubernetes-api: needs kubernetes-node"),
        (&["--kubelet=http://h", "--kubernetes-api=http://h"], "--kubernetes-api: given beside a kubelet"),
        (&["--kubernetes-api=http://h", "--kubernetes-node=a&b"], "--kubernetes-node: is no name of a node"),
        (&["--kubernetes-token=/nonexistent/token"], "--kubernetes-token: cannot read"),
        (&["--kubernetes-node=n"], "--kubernetes-node: given without kubelet or kubernetes-api"),
        (&["--kubernetes-label=team"], "--kubernetes-label: given without kubelet or kubernetes-api"),
        (&["--kubernetes-token=/dev/null"], "--kubernetes-token: given without kubelet or kubernetes-api"),
        (&["--kubernetes-ca=/dev/null"], "--kubernetes-ca: given without kubelet or kubernetes-api"),
        (&["--kubernetes-skip-verify"], "--kubernetes-skip-verify: given without kubelet or kubernetes-api"),
        (
            &["--kubelet=http://10.0.0.1:10255", "--kubernetes-token=/dev/null"],
            "--kubernetes-token: would go to 10.0.0.1 without encryption",
        ),
        (
            &["--kubernetes-api=http://[fd00::1]/", "--kubernetes-node=n", "--kubernetes-token=/dev/null"],
            "--kubernetes-token: would go to fd00::1 without encryption",
        ),
        (
            &["--kubelet=http://127.0.0.1.example.com", "--kubernetes-token=/dev/null"],
            "--kubernetes-token: would go to 127.0.0.1.example.com without encryption",
        ),
        (
            &["--kubelet=https://h", "--kubernetes-label=a.b", "--kubernetes-label=a-b"],
            "--kubernetes-label: makes the same label_a_b as a.b",
        ),
    ] {
        let problems = given(arguments).problems();
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:?}");
    }
    let allowed = given(&["--kubernetes-token=/dev/null"]).problems().remove(0);
    assert!(allowed.contains("only beside kubelet or kubernetes-api"), "{allowed}");
    for url in [
        "https://10.0.0.1",
        "http://127.0.0.1:10255",
        "http://localhost/",
        "http://[::1]:1",
        "http://127.9.9.9",
    ] {
        read(&[&format!("--kubelet={url}"), "--kubernetes-token=/dev/null"]).unwrap();
    }
    read(&["--kubelet=http://10.0.0.1:10255", "--kubernetes-node=n"]).expect("nothing is secret");
}

#[test]
fn the_example_of_the_reference_lacks_nothing_but_its_files() {
    let page = reference();
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let problems = given(&[]).file(example).problems();
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.contains(": cannot read /etc/sonde/")), "{problems:#?}");
}

#[test]
fn help_and_misuse_are_left_to_the_command_line() {
    for arguments in [&["--help"][..], &["--no-such-flag"], &["doctor", "--listen"], &["nonsense"]] {
        assert!(matches!(given(arguments).read(), Err(ConfigError::Usage(_))), "{arguments:?}");
    }
}

#[test]
fn a_log_level_that_breaks_the_parser_of_filters_is_refused() {
    let error = given(&["--log-level= \u{11288}="]).read().unwrap_err().to_string();
    assert!(error.contains("is not a level"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,24}|[0-9a-z.:=\\-/\\[\\]]{0,24}", file in "[a-z_]{1,16} ?= ?\\PC{0,16}") {
        for setting in settings::SETTINGS {
            // Judged or refused, never a panic.
            let _ = given(&[&format!("--{}={text}", setting.name)]).read();
        }
        let _ = given(&[]).file(&file).read();
    }
}

#[test]
fn networks_are_given_by_flags_or_by_tables() {
    let found = |config: &Config, address: &str| {
        let networks = &config.networks;
        networks.find(address.parse().unwrap()).map(|index| networks.get(index).to_string())
    };
    let config =
        given(&["--zone", "eu-1a", "--network", "10.0.0.0/8=eu-1a", "--network", "10.2.0.0/16=b/vpc"])
            .config();
    assert_eq!(config.zone.as_deref(), Some("eu-1a"));
    assert_eq!(found(&config, "10.2.3.4").as_deref(), Some("10.2.0.0/16=b/vpc"));
    let tables = "[[network]]\ncidr = ['10.1.0.0/16', 'fd00:1::/32']\nzone = 'a'\n[[network]]\ncidr = '192.0.2.1'\nclass = 'partner'\n";
    let config = given(&[]).file(tables).config();
    assert_eq!(found(&config, "fd00:1::9").as_deref(), Some("fd00:1::/32=a"));
    assert_eq!(found(&config, "192.0.2.1").as_deref(), Some("192.0.2.1/32=/partner"));
    assert_eq!(found(&config, "10.2.0.1"), None);
    let config = given(&["--network", "10.2.0.0/16=b"]).file(tables).config();
    assert_eq!(found(&config, "10.1.0.1"), None, "flags win over the file");
}

#[test]
fn what_is_wrong_with_networks_is_said_by_entry() {
    let tables = "network = ['10.0.0.0/8', { cidr = 5, zone = '', klass = 'x' }, { zone = 'a' }, { cidr = ['10.0.0.1/8'], zone = 'a' }]";
    let problems = given(&["--zone", "a b"]).file(tables).problems();
    for expected in [
        "network[0]: `10.0.0.0/8` has no `=`",
        "network[1].zone: is empty",
        "network[1].cidr: is neither a text nor a list of texts",
        "network[1].klass: no such key (allowed: cidr (a text or a list of them), zone, class)",
        "network[2]: has no cidr",
        "network[3]: `10.0.0.1/8` has bits behind its prefix: is `10.0.0.0/8` meant?",
        "--zone: the zone `a b` has characters besides letters",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(expected)),
            "no `{expected}` in {problems:#?}"
        );
    }
    let twice = given(&["--network", "10.0.0.0/8=a", "--network", "10.0.0.0/8=b"]).problems();
    assert_eq!(twice.len(), 1);
    assert!(
        twice[0].starts_with("--network: `10.0.0.0/8=b` is there already, as `10.0.0.0/8=a`"),
        "{twice:?}"
    );
}
