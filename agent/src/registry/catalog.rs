//! Every metric there is, one file per family.
//!
//! A metric's static is named like the metric without its family's prefix: `container_net_tcp_listen_info` is
//! [`tcp::LISTEN_INFO`]. Nothing else in the agent spells a metric's name. The reference `docs/metrics.md` is
//! written from this list; after a change, `SONDE_BLESS=1 cargo test -p sonde-agent --test surface` writes it anew.

pub mod agent;
pub mod block;
pub mod container;
pub mod dns;
pub mod drops;
pub mod node;
pub mod sched;
pub mod tcp;
pub mod udp;

use super::Metric;

/// One family of metrics: a file of the catalogue and a section of the reference.
#[derive(Debug)]
pub struct Section {
    /// Heading in the reference.
    pub title: &'static str,
    /// What all metrics of the family share, without the static's name: `container_net_tcp_`.
    pub prefix: &'static str,
    /// The metrics, in the order the reference lists them.
    pub metrics: &'static [&'static Metric],
}

/// The families in the order of the reference.
pub const SECTIONS: &[&Section] = &[
    &node::SECTION,
    &container::SECTION,
    &tcp::SECTION,
    &udp::SECTION,
    &dns::SECTION,
    &sched::SECTION,
    &block::SECTION,
    &drops::SECTION,
    &agent::SECTION,
];

/// Every metric of the catalogue.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    SECTIONS.iter().flat_map(|section| section.metrics.iter().copied())
}

/// Declares the metrics of one family as statics, and the family's [`Section`] from the same list, so that no
/// metric can be forgotten in the reference or in the tests.
macro_rules! catalog {
    (
        title: $title:literal, prefix: $prefix:literal, scope: $scope:ident;
        $($ident:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal, from $source:literal;)+
    ) => {
        $(
            #[doc = $help]
            pub static $ident: $crate::registry::Metric = $crate::registry::Metric {
                name: $name,
                kind: $crate::registry::Kind::$kind,
                scope: $crate::registry::Scope::$scope,
                help: $help,
                labels: &[$($label),*],
                source: $source,
            };
        )+

        /// The family.
        pub const SECTION: $crate::registry::catalog::Section = $crate::registry::catalog::Section {
            title: $title,
            prefix: $prefix,
            metrics: &[$(&$ident),+],
        };
    };
}
use catalog;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::registry::Kind;

    fn is_valid_name(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    }

    #[test]
    fn names_are_unique_and_valid() {
        let mut seen = HashSet::new();
        for metric in all() {
            assert!(is_valid_name(metric.name), "{} is not a metric name", metric.name);
            assert!(seen.insert(metric.name), "{} stands twice in the catalogue", metric.name);
        }
        assert!(seen.len() > 50, "the catalogue lost its metrics");
    }

    #[test]
    fn only_counters_end_in_total() {
        for metric in all() {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == Kind::Counter, "{}: {:?}", metric.name, metric.kind);
        }
    }

    #[test]
    fn no_name_ends_like_a_part_of_a_histogram() {
        for metric in all() {
            for suffix in ["_bucket", "_sum", "_count", "_created"] {
                assert!(!metric.name.ends_with(suffix), "{} ends in {suffix}", metric.name);
            }
        }
    }

    /// Names that compatibility fixes, in the family they belong to all the same.
    const FIXED: [&str; 3] =
        ["node_agent_info", "container_net_latency_seconds", "promhttp_metric_handler_errors_total"];

    #[test]
    fn names_start_with_the_prefix_of_their_section() {
        for section in SECTIONS {
            for metric in section.metrics {
                let known = metric.name.starts_with(section.prefix) || FIXED.contains(&metric.name);
                assert!(known, "{} does not start with {}", metric.name, section.prefix);
            }
        }
    }

    #[test]
    fn labels_are_valid_unique_and_not_those_of_the_scope() {
        const RESERVED: [&str; 7] =
            ["machine_id", "system_uuid", "container_id", "app_id", "instance", "job", "le"];
        const OF_CONTAINERS: [&str; 2] = ["az", "region"];
        for metric in all() {
            let mut seen = HashSet::new();
            for label in metric.labels {
                let name = label.strip_suffix('*').unwrap_or(label);
                assert!(is_valid_name(name), "{}: {label} is not a label name", metric.name);
                let is_taken = RESERVED.contains(label)
                    || metric.scope == crate::registry::Scope::Container && OF_CONTAINERS.contains(label);
                assert!(!is_taken, "{}: {label} belongs to the scope", metric.name);
                assert!(seen.insert(label), "{}: {label} stands twice", metric.name);
            }
        }
    }

    #[test]
    fn help_and_source_are_one_line_each() {
        for metric in all() {
            for text in [metric.help, metric.source] {
                assert!(!text.is_empty() && !text.contains('\n'), "{}: {text:?}", metric.name);
            }
        }
    }
}
