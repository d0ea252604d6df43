//! The reference page of all settings of the collector.

use std::fmt::Write;

use clap::CommandFactory;

use super::options::CommandLine;

/// What stands before the settings.
const INTRODUCTION: &str = "\
# Configuration of sonde-collector

Written from the code by `cargo xtask bless`; a test keeps it up to date.

Every setting is a flag, an environment variable and a key of a TOML file. A flag wins over the environment, the
environment over the file, the file over the default. Sizes and durations carry units (`500MB`, `64MiB`, `15s`, `24h`,
`30d`). In a variable, several values are separated by spaces. `sonde-collector check-config` reports everything that is
wrong.

## Settings

";

/// What stands behind them.
const FILES: &str = r#"## Configuration file

The keys are the flags with `_` for `-`, as in the agent's file; `-` is accepted too. Remote-write targets are tables
with the names of Prometheus' own configuration; they are the same as [the agent's](configuration.md#file):

```toml
data_dir = "/var/lib/sonde/collector"
queue_max_bytes = "2GB"

[[remote_write]]
url = "https://tsdb.example/api/v1/write"
name = "tsdb"                    # in metrics and /status; made from the URL without its secrets when absent
remote_timeout = "30s"
headers = { "X-Scope-OrgID" = "team-a" }
basic_auth = { username = "sonde", password_file = "/etc/sonde/password" }
tls_config = { ca_file = "/etc/sonde/ca.pem" }
```

## File of API keys

`--api-keys` names a file with one `PROJECT KEY` per line. Empty lines and lines that begin with `#` are skipped. A
project may have several keys, so that they can be rotated. A client shows its key as `X-API-Key: KEY` or
`Authorization: Bearer KEY`.

```text
# project  key
team-a     3f9c0c7d51
team-b     a0b1e64f22
```

## File of credentials

`--listen-auth` names a file with one credential per line, of which every request must show one; `/healthz` and
`/readyz` are open. Empty lines and lines that begin with `#` are skipped.

```text
bearer 3f9c0c7d51
basic prometheus:a0b1e64f22
```
"#;

/// The page.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut command = CommandLine::command();
    command.build();
    for argument in command.get_arguments() {
        let Some(flag) = argument.get_long().filter(|flag| !matches!(*flag, "help" | "version")) else {
            continue;
        };
        let value = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name);
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let mut line = |text: String| writeln!(page, "{text}").expect("writing to a string cannot fail");
        let value =
            if argument.is_require_equals_set() { format!("[={value}]") } else { format!(" {value}") };
        line(format!("### `--{flag}{value}`\n\n{}.\n", help.trim_end_matches('.')));
        if let Some(variable) = argument.get_env() {
            line(format!("- Environment: `{}`", variable.display()));
        }
        match flag {
            "config" => {}
            "remote-write" => line("- Key: `[[remote_write]]` tables".into()),
            _ => line(format!("- Key: `{}`", flag.replace('-', "_"))),
        }
        line(String::new());
    }
    page + FILES
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ConfigText;
    use crate::server::Options;

    #[test]
    fn the_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/collector.md");
        if std::env::var_os("SONDE_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, reference(), "out of date: run `cargo xtask bless`");
    }

    #[test]
    fn every_key_on_the_page_is_one() {
        let page = reference();
        let keys: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("- Key: `")?.strip_suffix('`')).collect();
        assert_eq!(keys.len(), 12, "{keys:?}");
        for key in keys {
            let value = if key == "allow_anonymous" { "true" } else { "'x'" };
            let text = format!("{key} = {value}");
            let file = ConfigText::new(&text);
            let table = toml::Value::Table(file.table().unwrap());
            file.read::<Options>("", None, table).unwrap();
        }
    }
}
