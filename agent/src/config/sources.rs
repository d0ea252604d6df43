//! What was given for each setting, and where: by a flag, else by the environment, else in the file.

use std::collections::HashMap;
use std::path::Path;

use clap::ArgMatches;
use sonde_collector::config::{ConfigText, Problems, RemoteWriteTarget};

use super::settings::{CONFIG, SETTINGS, Setting};
use super::{command_line, networks};

/// One value as it was given. Not printable: it may be a secret.
#[derive(Clone)]
pub(super) struct Given {
    /// What it is given for.
    pub setting: &'static Setting,
    /// Where: `--listen`, `SONDE_LISTEN`, `listen`; the path of a problem with it.
    pub path: String,
    /// The text.
    pub text: String,
}

impl Given {
    pub(super) fn new(setting: &'static Setting, path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { setting, path: path.into(), text: text.into() }
    }
}

/// Everything that was given.
#[derive(Default)]
pub(super) struct Sources {
    values: HashMap<&'static str, Vec<Given>>,
    /// `[[remote_write]]` tables of the file; `--remote-write` wins over all of them.
    pub targets: Vec<RemoteWriteTarget>,
}

impl Sources {
    /// Reads the command line, the environment, and the file that one of them names.
    pub(super) fn read(
        matches: &ArgMatches,
        env: &dyn Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Self {
        let mut sources = Self::default();
        let outside = |setting: &'static Setting| match command_line::given(matches, setting) {
            flags if flags.is_empty() => from_environment(setting, env),
            flags => flags,
        };
        if let Some(file) = outside(&CONFIG).pop() {
            sources.read_file(&file, problems);
        }
        for setting in SETTINGS {
            let given = outside(setting);
            if !given.is_empty() {
                sources.values.insert(setting.name, given);
                if setting.name == "remote-write" {
                    sources.targets.clear();
                }
            }
        }
        sources
    }

    /// What was given for a setting.
    pub(super) fn all(&self, name: &str) -> &[Given] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn read_file(&mut self, file: &Given, problems: &mut Problems) {
        let text = match std::fs::read_to_string(Path::new(&file.text)) {
            Ok(text) => text,
            Err(error) => {
                return problems.push(&file.path, format!("cannot read {}: {error}", file.text), "");
            }
        };
        let content = ConfigText::new(&text);
        match content.table() {
            Ok(table) => table.into_iter().for_each(|(key, value)| self.take(content, &key, value, problems)),
            Err(message) => problems.push(&file.path, format!("{} {message}", file.text), ""),
        }
    }

    fn take(&mut self, file: ConfigText<'_>, key: &str, value: toml::Value, problems: &mut Problems) {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key() == key) else {
            let known: Vec<String> = SETTINGS.iter().map(Setting::key).collect();
            return problems.push(key, "no such setting", known.join(", "));
        };
        match value {
            toml::Value::Array(values) if setting.name == "remote-write" => {
                self.take_targets(file, values, problems)
            }
            toml::Value::Table(switches) if setting.name == "probe" => {
                for (probe, switch) in switches {
                    let path = format!("probe.{probe}");
                    match scalar(&switch) {
                        Some(switch) => self.add(Given::new(setting, path, format!("{probe}={switch}"))),
                        None => problems.push(path, "is not a text", setting.allowed),
                    }
                }
            }
            toml::Value::Array(values) if setting.repeatable => {
                for (index, value) in values.into_iter().enumerate() {
                    let path = format!("{key}[{index}]");
                    match value {
                        toml::Value::Table(table) if setting.name == "network" => {
                            let given = networks::from_table(&path, table, problems);
                            given.into_iter().for_each(|given| self.add(given));
                        }
                        value => self.take_scalar(setting, path, &value, problems),
                    }
                }
            }
            value => self.take_scalar(setting, key.to_owned(), &value, problems),
        }
    }

    fn take_scalar(
        &mut self,
        setting: &'static Setting,
        path: String,
        value: &toml::Value,
        problems: &mut Problems,
    ) {
        let switch = value.as_bool().filter(|_| setting.is_switch()).map(|switch| switch.to_string());
        match switch.or_else(|| scalar(value)) {
            Some(text) => self.add(Given::new(setting, path, text)),
            None => problems.push(path, format!("is a {}", value.type_str()), setting.allowed),
        }
    }

    fn take_targets(&mut self, file: ConfigText<'_>, values: Vec<toml::Value>, problems: &mut Problems) {
        for (index, value) in values.into_iter().enumerate() {
            let target = match value {
                toml::Value::String(url) => Ok(url.parse().unwrap_or_else(|never| match never {})),
                table => file.read("remote_write", Some(index), table),
            };
            match target {
                Ok(target) => self.targets.push(target),
                Err(problem) => problems.add(problem),
            }
        }
    }

    fn add(&mut self, given: Given) {
        self.values.entry(given.setting.name).or_default().push(given);
    }
}

fn from_environment(setting: &'static Setting, env: &dyn Fn(&str) -> Option<String>) -> Vec<Given> {
    let set = setting.variables().find_map(|variable| {
        let text = env(&variable).filter(|text| !text.is_empty())?;
        Some((variable, text))
    });
    match set {
        None => Vec::new(),
        Some((variable, text)) if setting.repeatable => {
            text.split_whitespace().map(|part| Given::new(setting, &variable, part)).collect()
        }
        Some((variable, text)) => vec![Given::new(setting, variable, text)],
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
