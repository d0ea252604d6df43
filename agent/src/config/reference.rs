//! The reference page of all settings.

use std::fmt::Write;

use super::settings::{CONFIG, SETTINGS, Setting};

/// What stands before the table.
const INTRODUCTION: &str = "\
# Configuration of sonde-agent

Written from the code by `cargo xtask bless`; a test keeps it up to date.

Every setting is a flag, an environment variable and a key of a TOML file. A flag wins over the environment, the
environment over the file, the file over the default. Sizes and durations carry units (`500MB`, `64MiB`, `15s`, `24h`,
`30d`). In a variable, several values are separated by spaces. Flags of coroot-node-agent with the same meaning are
accepted, and so are its variables. `sonde-agent check-config` reports everything that is wrong.

## Settings

";

/// What stands behind the table.
const FILE: &str = r#"
## File

The keys are the flags with `_` for `-`. What a flag cannot say about a remote-write target stands in a table with the
names of Prometheus' own configuration, and networks may stand in tables too:

```toml
scrape_interval = "15s"
container_deny = ["^/system.slice/", "^/host/"]

[probe]
tcp = "on"

[[network]]                      # as --network; cidr is a text or a list of them
cidr = ["10.1.0.0/16", "fd00:1::/32"]
zone = "eu-central-1a"
class = "vpc"                    # optional; else private, public and so on, by the address

[[remote_write]]
url = "https://tsdb.example/api/v1/write"
name = "tsdb"                    # in metrics and /status; made from the URL when absent
remote_timeout = "30s"
headers = { "X-Scope-OrgID" = "team-a" }

[remote_write.basic_auth]        # or [remote_write.authorization] with credentials or credentials_file
username = "sonde"
password_file = "/etc/sonde/password"

[remote_write.tls_config]
ca_file = "/etc/sonde/ca.pem"
cert_file = "/etc/sonde/client.pem"
key_file = "/etc/sonde/client.key"
```

A key that does not exist is an error. Passwords, tokens and keys never appear in logs or in `/status`; given by file or
by environment, they do not appear in the list of processes either.
"#;

/// Renders `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for setting in std::iter::once(&CONFIG).chain(SETTINGS) {
        describe(&mut page, setting);
    }
    page.push_str(FILE);
    page
}

fn describe(page: &mut String, setting: &Setting) {
    let mut line = |text: String| writeln!(page, "{text}").expect("writing to a string cannot fail");
    // A switch takes its value behind `=` only, so that a command may follow it.
    let value =
        if setting.is_switch() { format!("[={}]", setting.value) } else { format!(" {}", setting.value) };
    line(format!("### `--{}{value}`\n", setting.name));
    line(format!("{}.\n", setting.help));
    let variables: Vec<String> = setting.variables().map(|variable| format!("`{variable}`")).collect();
    line(format!("- Environment: {}", variables.join(", ")));
    if let Some(alias) = setting.coroot.filter(|alias| *alias != setting.name) {
        line(format!("- Also: `--{alias}`"));
    }
    if !setting.default.is_empty() {
        line(format!("- Default: `{}`", setting.default));
    }
    if setting.repeatable {
        line("- May be given several times".to_owned());
    }
    line(format!("- Allowed: {}\n", setting.allowed));
}
