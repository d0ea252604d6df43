//! The first summary: where to look, what was found, what works.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::Value;

use crate::exposition::{self, Sample};

/// Containers named in the summary; the rest is counted.
const NAMED: usize = 8;

/// Renders what the agent says about itself.
pub fn render(address: SocketAddr, status: &Value, metrics: &str) -> String {
    let samples = exposition::parse(metrics);
    let mut text = format!(
        "\nSonde is running.\n\
         \x20 metrics   http://{address}/metrics\n\
         \x20 status    http://{address}/status\n\
         \x20 push      cargo xtask run --remote-write http://127.0.0.1:9090/api/v1/write\n\n"
    );
    // Writing to a string cannot fail.
    let ids: BTreeSet<&str> =
        samples.iter().filter_map(|sample| sample.labels.get("container_id")).map(String::as_str).collect();
    for (title, wanted) in
        [("containers", Kind::Container), ("services", Kind::Service), ("executables", Kind::Host)]
    {
        let _ =
            writeln!(text, "{title:<12} {}", named(ids.iter().copied().filter(|id| Kind::of(id) == wanted)));
    }
    let _ = writeln!(text, "connections  {}", number(&samples, "sonde_agent_connections"));
    let _ = writeln!(text, "series       {}", number(&samples, "sonde_agent_series"));
    let _ = writeln!(text, "probes");
    for (name, verdict, detail) in verdicts(status) {
        let _ = writeln!(text, "  {name:<28} {verdict:<12} {detail}");
    }
    text.push_str("\nCtrl-C stops it.");
    text
}

fn number(samples: &[Sample], name: &str) -> String {
    exposition::sum(samples, name).map_or("not measured".to_owned(), |value| value.to_string())
}

/// What the id of a workload says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Service,
    Host,
}

impl Kind {
    fn of(id: &str) -> Self {
        match id {
            _ if id.starts_with("/host/") => Self::Host,
            _ if id.ends_with(".service") => Self::Service,
            _ => Self::Container,
        }
    }
}

/// How many, and the first of them by name.
fn named<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let ids: Vec<&str> = ids.collect();
    let rest = if ids.len() > NAMED { format!(" and {} more", ids.len() - NAMED) } else { String::new() };
    match ids.len() {
        0 => "0".to_owned(),
        count => format!("{count} ({}{rest})", ids[..count.min(NAMED)].join(", ")),
    }
}

/// Finds every object with a name and a verdict, wherever the status has them.
fn verdicts(status: &Value) -> Vec<(String, String, String)> {
    let text = |object: &Value, key: &str| object[key].as_str().map(str::to_owned);
    match status {
        Value::Object(fields) => {
            if let (Some(name), Some(verdict)) = (text(status, "name"), text(status, "verdict")) {
                let detail = text(status, "reason").or_else(|| text(status, "choice")).unwrap_or_default();
                return vec![(name, verdict, detail)];
            }
            fields.values().flat_map(verdicts).collect()
        }
        Value::Array(items) => items.iter().flat_map(verdicts).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_summary_names_containers_connections_and_verdicts() {
        let status = json!({ "features": [
            { "name": "tcp/state", "verdict": "ok", "choice": "tp_btf" },
            { "name": "tcp/iter", "verdict": "unsupported", "reason": "no iterators" },
        ]});
        let metrics = "container_info{container_id=\"/docker/a\"} 1\n\
            container_restarts_total{container_id=\"/docker/a\"} 0\nsonde_agent_connections 7\n\
            container_net_tcp_listen_info{container_id=\"/host/sshd\"} 1\n";
        let text = render("127.0.0.1:1".parse().unwrap(), &status, metrics);
        assert!(
            text.contains("containers   1 (/docker/a)\nservices     0\nexecutables  1 (/host/sshd)\n"),
            "{text}"
        );
        assert!(text.contains("connections  7\n"), "{text}");
        assert!(text.contains("series       not measured\n"), "not measured is not zero: {text}");
        assert!(text.contains("tcp/iter                     unsupported  no iterators"), "{text}");
    }
}
