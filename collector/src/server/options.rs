//! What can be given on the command line, in the environment, and in a file: the same names everywhere.
//!
//! Values are kept as they were typed; [`super::Config`] builds what they mean.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;

/// Receives metrics by remote write, keeps them durably, and forwards them.
#[derive(Debug, Parser)]
#[command(name = "sonde-collector", version, args_conflicts_with_subcommands = false)]
pub struct CommandLine {
    /// What to do; `run` when nothing is given.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings.
    #[command(flatten)]
    pub options: Options,
    /// TOML file with the same settings, and `[[remote_write]]` tables with Prometheus' names.
    #[arg(long, global = true, env = "SONDE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Receive and forward.
    Run,
    /// Validate the configuration and tell everything that is wrong with it.
    CheckConfig,
    /// Show segments and cursors of a data directory, also while it is in use.
    Inspect {
        /// The data directory.
        dir: PathBuf,
    },
}

/// Settings as typed. A flag wins over the environment, the environment over the file.
/// In a file their names have `_` for `-`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct Options {
    /// Address to listen on [default: 127.0.0.1:10310 without keys, else 0.0.0.0:10310].
    #[arg(long, global = true, env = "SONDE_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Certificate chain of the listener, PEM.
    #[arg(long, global = true, env = "SONDE_LISTEN_TLS_CERT", value_name = "FILE")]
    pub listen_tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM.
    #[arg(long, global = true, env = "SONDE_LISTEN_TLS_KEY", value_name = "FILE")]
    pub listen_tls_key: Option<PathBuf>,
    /// Authorities of client certificates, PEM; every client must show one.
    #[arg(long, global = true, env = "SONDE_LISTEN_TLS_CLIENT_CA", value_name = "FILE")]
    pub listen_tls_client_ca: Option<PathBuf>,
    /// File with `bearer TOKEN` or `basic USER:PASSWORD` lines that every request must show one of.
    #[arg(long, global = true, env = "SONDE_LISTEN_AUTH", value_name = "FILE")]
    pub listen_auth: Option<PathBuf>,
    /// Directory of the queue; one process owns it [default: /var/lib/sonde/collector].
    #[arg(long, global = true, env = "SONDE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to forward to; may be given several times, separated by spaces in the environment.
    #[arg(
        long = "remote-write",
        global = true,
        env = "SONDE_REMOTE_WRITE",
        value_name = "URL",
        hide_env_values = true
    )]
    #[serde(skip)]
    pub remote_write: Vec<String>,
    /// Bytes of the queue; the oldest samples are dropped and counted above it [default: 500MB].
    #[arg(long, global = true, env = "SONDE_QUEUE_MAX_BYTES", value_name = "SIZE")]
    pub queue_max_bytes: Option<String>,
    /// Age at which samples are dropped and counted [default: 24h].
    #[arg(long, global = true, env = "SONDE_QUEUE_MAX_AGE", value_name = "DURATION")]
    pub queue_max_age: Option<String>,
    /// File with `PROJECT KEY` lines; without it everyone writes to one default project.
    #[arg(long, global = true, env = "SONDE_API_KEYS", value_name = "FILE")]
    pub api_keys: Option<PathBuf>,
    /// Allow a listener that is not on loopback although no keys are asked for.
    #[arg(long, global = true, env = "SONDE_ALLOW_ANONYMOUS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub allow_anonymous: Option<bool>,
    /// Label that is set to the project of whoever wrote.
    #[arg(long, global = true, env = "SONDE_TENANT_LABEL", value_name = "LABEL")]
    pub tenant_label: Option<String>,
    /// What to log: error, warn, info, debug, or a filter such as `info,sonde_collector::forward=debug` [default: info].
    #[arg(long, global = true, env = "SONDE_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
}

impl Options {
    /// Takes from `file` what was not given here.
    pub fn or(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            listen_tls_cert: self.listen_tls_cert.or(file.listen_tls_cert),
            listen_tls_key: self.listen_tls_key.or(file.listen_tls_key),
            listen_tls_client_ca: self.listen_tls_client_ca.or(file.listen_tls_client_ca),
            listen_auth: self.listen_auth.or(file.listen_auth),
            data_dir: self.data_dir.or(file.data_dir),
            remote_write: self.remote_write,
            queue_max_bytes: self.queue_max_bytes.or(file.queue_max_bytes),
            queue_max_age: self.queue_max_age.or(file.queue_max_age),
            api_keys: self.api_keys.or(file.api_keys),
            allow_anonymous: self.allow_anonymous.or(file.allow_anonymous),
            tenant_label: self.tenant_label.or(file.tenant_label),
            log_level: self.log_level.or(file.log_level),
        }
    }
}
