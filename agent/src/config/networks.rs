//! Networks and the node's own zone: from flags as `CIDR=ZONE/CLASS`, from the file also as `[[network]]` tables, which
//! are read into the same texts.

use std::sync::Arc;

use sonde_collector::config::Problems;

use super::build::Reader;
use super::settings::setting;
use super::sources::Given;
use crate::networks::{Network, Networks};

/// What a table may hold.
const KEYS: &str = "cidr (a text or a list of them), zone, class";

impl Reader<'_> {
    pub(super) fn networks(&mut self) -> Networks {
        let mut networks = Networks::default();
        for given in self.sources.all("network").to_vec() {
            if let Err(message) = given.text.parse::<Network>().and_then(|network| networks.add(network)) {
                self.problem(&given, message);
            }
        }
        networks
    }

    pub(super) fn zone(&mut self) -> Option<Arc<str>> {
        let given = self.text("zone")?;
        match Network::name("zone", &given.text) {
            Ok(zone) => Some(zone),
            Err(message) => {
                self.problem(&given, message);
                None
            }
        }
    }
}

/// The values of a `[[network]]` table of the file, as flags would give them.
pub(super) fn from_table(path: &str, mut table: toml::Table, problems: &mut Problems) -> Vec<Given> {
    let mut text = |key: &str| match table.remove(key) {
        None => String::new(),
        Some(toml::Value::String(text)) if !text.is_empty() => text,
        Some(other) => {
            let message = if other.is_str() { "is empty" } else { "is no text" };
            problems.push(format!("{path}.{key}"), message, KEYS);
            String::new()
        }
    };
    let (zone, class) = (text("zone"), text("class"));
    let cidrs = match table.remove("cidr") {
        Some(toml::Value::String(cidr)) => vec![cidr],
        Some(toml::Value::Array(cidrs)) if !cidrs.is_empty() && cidrs.iter().all(toml::Value::is_str) => {
            cidrs.into_iter().filter_map(|cidr| cidr.as_str().map(str::to_owned)).collect()
        }
        Some(_) => {
            problems.push(format!("{path}.cidr"), "is neither a text nor a list of texts", KEYS);
            Vec::new()
        }
        None => {
            problems.push(path, "has no cidr", KEYS);
            Vec::new()
        }
    };
    for key in table.keys() {
        problems.push(format!("{path}.{key}"), "no such key", KEYS);
    }
    let names = match (zone.as_str(), class.as_str()) {
        (zone, "") => zone.to_owned(),
        (zone, class) => format!("{zone}/{class}"),
    };
    let given = |cidr: String| Given::new(setting("network"), path, format!("{cidr}={names}"));
    cidrs.into_iter().map(given).collect()
}
