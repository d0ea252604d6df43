//! The collector's configuration: what the options mean, and everything that is wrong with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

use super::options::Options;
use crate::config::{ConfigText, Problem, Problems, QueueConfig, RemoteWriteTarget, problems_of_targets};
use crate::http::{ListenConfig, ListenTls};
use crate::units::{UnitError, parse_bytes, parse_duration};

const PORT: u16 = 10310;
const DATA_DIR: &str = "/var/lib/sonde/collector";

/// Everything the collector needs to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: ListenConfig,
    /// The queue.
    pub queue: QueueConfig,
    /// Targets.
    pub remote_write: Vec<RemoteWriteTarget>,
    /// File of keys.
    pub api_keys: Option<PathBuf>,
    /// Label that holds the project.
    pub tenant_label: Option<String>,
    /// Filter of log lines.
    pub log_level: String,
}

/// The URLs of one value: a variable has several with spaces between, while what only looks like it is judged whole.
fn several(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.iter().all(|part| part.contains("://")) { parts } else { vec![text] }
}

impl Config {
    /// Builds the configuration from options and a file; all problems are reported together.
    pub fn load(options: Options, file: Option<&Path>) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let (from_file, mut targets) = match file {
            None => (Options::default(), Vec::new()),
            Some(path) => read_file(path, &mut problems),
        };
        // Targets of a flag or the environment replace those of the file, like any other setting.
        if !options.remote_write.is_empty() {
            let urls = options.remote_write.iter().flat_map(|text| several(text));
            targets = urls.filter_map(|url| url.parse().ok()).collect();
        }
        let config = Self::build(options.or(from_file), targets, &mut problems);
        problems.into_result().map(|()| config)
    }

    fn build(options: Options, remote_write: Vec<RemoteWriteTarget>, problems: &mut Problems) -> Self {
        let mut queue = QueueConfig::new(options.data_dir.clone().unwrap_or_else(|| DATA_DIR.into()));
        if let Some(text) = &options.queue_max_bytes {
            queue.max_bytes = parsed("queue-max-bytes", parse_bytes(text), queue.max_bytes, problems);
        }
        if let Some(text) = &options.queue_max_age {
            queue.max_age = parsed("queue-max-age", parse_duration(text), queue.max_age, problems);
        }
        problems.extend(queue.problems());
        problems.extend(problems_of_targets(&remote_write));
        let listen = listen(&options, problems);
        if let Some(path) = &options.api_keys
            && let Err(error) = crate::ingest::ApiKeys::read(path)
        {
            problems.push("api-keys", error.to_string(), "a file with `PROJECT KEY` lines");
        }
        if let Some(label) = &options.tenant_label {
            let good = label.bytes().all(|c| c == b'_' || c.is_ascii_alphanumeric())
                && !label.starts_with("__")
                && label.bytes().next().is_some_and(|c| !c.is_ascii_digit());
            problems.check(
                good,
                "tenant-label",
                format!("`{label}` is no label name"),
                "[a-zA-Z_][a-zA-Z0-9_]*, not `__…`",
            );
        }
        let log_level = options.log_level.unwrap_or_else(|| "info".into());
        problems.check(
            // Levels and modules are ASCII; on anything else the filter's parser may panic.
            log_level.is_ascii() && EnvFilter::try_new(&log_level).is_ok(),
            "log-level",
            format!("`{log_level}` is no filter"),
            "error, warn, info, debug, trace, or MODULE=LEVEL,…",
        );
        Self {
            listen,
            queue,
            remote_write,
            api_keys: options.api_keys,
            tenant_label: options.tenant_label,
            log_level,
        }
    }
}

fn parsed<T>(path: &str, result: Result<T, UnitError>, default: T, problems: &mut Problems) -> T {
    result.unwrap_or_else(|error| {
        problems.push(path, error.to_string(), "");
        default
    })
}

fn read_file(path: &Path, problems: &mut Problems) -> (Options, Vec<RemoteWriteTarget>) {
    let allowed = "a TOML file with the names of the flags, `_` for `-`";
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push("config", format!("cannot read {}: {error}", path.display()), allowed);
            return Default::default();
        }
    };
    let file = ConfigText::new(&text);
    let mut table = match file.table() {
        Ok(table) => table,
        Err(message) => {
            problems.push(path.display().to_string(), message, allowed);
            return Default::default();
        }
    };
    let targets = table.remove("remote_write").or_else(|| table.remove("remote-write"));
    let targets = read_targets(&file, targets, problems);
    // `-` as in the flags, or `_` as in the agent's file.
    let mut options = toml::Table::new();
    for (key, value) in table {
        let name = key.replace('-', "_");
        if options.insert(name, value).is_some() {
            problems.push(key, "is given in two spellings", "one of them");
        }
    }
    let options = file.read("", None, toml::Value::Table(options)).unwrap_or_else(|problem| {
        problems.add(Problem { allowed: allowed.into(), ..problem });
        Options::default()
    });
    (options, targets)
}

fn read_targets(
    file: &ConfigText<'_>,
    values: Option<toml::Value>,
    problems: &mut Problems,
) -> Vec<RemoteWriteTarget> {
    let values = match values {
        None => Vec::new(),
        Some(toml::Value::Array(values)) => values,
        Some(other) => {
            problems.push("remote_write", format!("is a {}", other.type_str()), "[[remote_write]] tables");
            Vec::new()
        }
    };
    let mut targets = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match file.read("remote_write", Some(index), value) {
            Ok(target) => targets.push(target),
            Err(problem) => problems.add(problem),
        }
    }
    targets
}

fn listen(options: &Options, problems: &mut Problems) -> ListenConfig {
    let guarded =
        options.api_keys.is_some() || options.listen_auth.is_some() || options.listen_tls_client_ca.is_some();
    let anonymous = options.allow_anonymous.unwrap_or(false);
    let default = if guarded || anonymous { [0, 0, 0, 0] } else { [127, 0, 0, 1] };
    let mut addr = SocketAddr::from((default, PORT));
    if let Some(text) = &options.listen {
        match text.parse() {
            Ok(parsed) => addr = parsed,
            Err(_) => {
                problems.push("listen", format!("`{text}` is no address"), "IP:PORT, such as 127.0.0.1:10310")
            }
        }
    }
    problems.check(
        guarded || anonymous || addr.ip().is_loopback(),
        "listen",
        format!("{addr} is not on loopback and nobody is asked for a key"),
        "a loopback address, or --api-keys, --listen-auth, --listen-tls-client-ca, --allow-anonymous",
    );
    let mut listen = ListenConfig::new(addr);
    match (&options.listen_tls_cert, &options.listen_tls_key) {
        (Some(cert), Some(key)) => {
            let client_ca = options.listen_tls_client_ca.clone();
            listen.tls = Some(ListenTls { cert: cert.clone(), key: key.clone(), client_ca });
        }
        (None, None) => problems.check(
            options.listen_tls_client_ca.is_none(),
            "listen-tls-client-ca",
            "needs a certificate of the listener",
            "together with --listen-tls-cert and --listen-tls-key",
        ),
        _ => problems.push(
            "listen-tls-cert",
            "a certificate needs its key, and a key its certificate",
            "both or neither",
        ),
    }
    listen.auth = options.listen_auth.clone();
    problems.check(
        !(options.api_keys.is_some() && options.listen_auth.is_some()),
        "listen-auth",
        "would ask for the same header as the API keys",
        "one of --listen-auth and --api-keys",
    );
    if let Err(error) = listen.check_files() {
        problems.push("listen", error.to_string(), "readable PEM files, and a file of credentials");
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn load(options: Options, file: &str) -> Result<Config, Problems> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        Config::load(options, Some(&path))
    }

    #[test]
    fn nothing_at_all_is_a_good_configuration() {
        let config = Config::load(Options::default(), None).unwrap();
        assert_eq!(config.listen.addr.to_string(), "127.0.0.1:10310");
        assert_eq!(config.queue.max_bytes, 500_000_000);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let file =
            "queue-max-age = \"2h\"\nqueue-max-bytes = \"1GB\"\n[[remote_write]]\nurl = \"http://file/w\"\n";
        let options = Options {
            queue_max_age: Some("3h".into()),
            remote_write: vec!["http://flag/w".into()],
            ..Options::default()
        };
        let config = load(options, file).unwrap();
        assert_eq!(config.queue.max_age, Duration::from_secs(3 * 3600));
        assert_eq!(config.queue.max_bytes, 1_000_000_000);
        assert_eq!(config.remote_write[0].shown_url(), "http://flag/w");
        assert_eq!(load(Options::default(), file).unwrap().remote_write[0].shown_url(), "http://file/w");
    }

    #[test]
    fn all_problems_are_reported_together() {
        let options = Options {
            listen: Some("0.0.0.0:1".into()),
            queue_max_bytes: Some("500".into()),
            queue_max_age: Some("1s".into()),
            tenant_label: Some("1x".into()),
            api_keys: None,
            ..Options::default()
        };
        let file = "[[remote_write]]\nurl = \"gopher://x\"\n";
        let problems = load(options, file).unwrap_err();
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths,
            ["queue-max-bytes", "queue-max-age", "remote_write[0].url", "listen", "tenant-label"]
        );
    }

    #[test]
    fn several_targets_are_parted_by_spaces_as_in_the_agent() {
        let options =
            Options { remote_write: vec!["http://a/w?x=1,2  http://b/w\n".into()], ..Options::default() };
        let config = load(options, "").unwrap();
        let urls: Vec<&str> = config.remote_write.iter().map(|target| target.url.expose()).collect();
        assert_eq!(urls, ["http://a/w?x=1,2", "http://b/w"]);
    }

    #[test]
    fn the_file_may_spell_names_as_the_agent_does() {
        let config = load(Options::default(), "queue_max_age = \"2h\"\nqueue-max-bytes = \"1GB\"").unwrap();
        assert_eq!((config.queue.max_age.as_secs(), config.queue.max_bytes), (7200, 1_000_000_000));
        let twice = load(Options::default(), "queue_max_age = \"2h\"\nqueue-max-age = \"2h\"").unwrap_err();
        assert_eq!(twice.len(), 1);
    }

    #[test]
    fn a_value_that_does_not_fit_is_not_shown() {
        let shown = |file: &str| load(Options::default(), file).unwrap_err().to_string();
        let text =
            "listen = \"127.0.0.1:1\"\n\n[[remote_write]]\nurl = \"http://h/w\"\nbasic_auth = \"u:hunter2\"";
        assert_eq!(shown(text), "remote_write[0].basic_auth: line 5: expected a table");
        let error = shown("listen = \"127.0.0.1:1\"\napi-keys = 4711");
        assert!(error.starts_with("api_keys: line 2: expected "), "{error}");
        assert!(!error.contains("4711"), "{error}");
        let error = shown("data-dir = \"/x\"\nlisten-auth = hunter2");
        assert!(error.contains("line 2: expected ") && !error.contains("hunter2"), "{error}");
        let error = shown("remote_write = \"http://u:hunter2@h/\"");
        assert!(error.starts_with("remote_write: is a string") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_unknown_name_in_the_file_is_a_problem_and_no_secret_is_quoted() {
        assert!(
            load(Options::default(), "queue-max-bites = \"1GB\"")
                .unwrap_err()
                .to_string()
                .contains("queue_max_bites: line 1: unknown field")
        );
        let error =
            load(Options::default(), "[[remote_write]]\nurl = \"http://u:hunter2@h/w\nx").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
