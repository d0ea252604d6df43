//! What a request must look like; whatever does not is taken out, the rest is kept.

use std::collections::BTreeMap;

use super::Reason;
use crate::wire::remote_write::{Label, NAME_LABEL, TimeSeries, WriteRequest};

/// Bytes of a series that a message shows.
const SHOWN: usize = 200;

/// What was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Samples taken out, by the name of the reason's label.
    pub samples: BTreeMap<&'static str, (Reason, u64)>,
    /// Series taken out.
    pub series: u64,
    /// The first of them, and what is wrong with it.
    pub first: String,
}

/// Takes everything invalid out of a request. `None`: nothing was.
pub fn validate(request: &mut WriteRequest) -> Option<Refusal> {
    let mut refusal = Refusal::default();
    request.timeseries.retain(|series| match fault(series) {
        None => true,
        Some((reason, message)) => {
            if refusal.series == 0 {
                refusal.first = format!("series {}: {message}", shown(series));
            }
            refusal.series += 1;
            let samples = (series.samples.len() + series.histograms.len()) as u64;
            refusal.samples.entry(reason.name()).or_insert((reason, 0)).1 += samples;
            false
        }
    });
    (refusal.series > 0).then_some(refusal)
}

fn fault(series: &TimeSeries) -> Option<(Reason, String)> {
    if let Some(message) = label_fault(&series.labels) {
        return Some((Reason::Labels, message));
    }
    let samples_ordered = series.samples.is_sorted_by(|a, b| a.timestamp <= b.timestamp);
    let histograms_ordered = series.histograms.is_sorted_by(|a, b| a.timestamp <= b.timestamp);
    let ordered = samples_ordered && histograms_ordered;
    (!ordered).then(|| (Reason::Order, "samples are not in order of time".into()))
}

fn label_fault(labels: &[Label]) -> Option<String> {
    let mut previous: Option<&str> = None;
    let mut named = false;
    for Label { name, value } in labels {
        if name.is_empty() {
            return Some("a label without name".into());
        }
        if value.is_empty() {
            return Some(format!("label `{name}` is empty, leave it out"));
        }
        if previous.is_some_and(|previous| previous >= name.as_str()) {
            let what = if previous == Some(name) { "stands there twice" } else { "is not sorted by name" };
            return Some(format!("label `{name}` {what}"));
        }
        if name == NAME_LABEL {
            named = true;
            if !is_metric_name(value) {
                return Some(format!("`{value}` is no metric name, allowed is [a-zA-Z_:][a-zA-Z0-9_:]*"));
            }
        } else if !is_label_name(name) {
            return Some(format!("`{name}` is no label name, allowed is [a-zA-Z_][a-zA-Z0-9_]*"));
        }
        previous = Some(name);
    }
    (!named).then(|| format!("label `{NAME_LABEL}` is missing"))
}

fn is_label_name(name: &str) -> bool {
    name.bytes()
        .enumerate()
        .all(|(at, c)| c == b'_' || c.is_ascii_alphabetic() || at > 0 && c.is_ascii_digit())
}

fn is_metric_name(name: &str) -> bool {
    is_label_name(&name.replace(':', "_"))
}

/// A series as people write it, cut to a bearable length.
fn shown(series: &TimeSeries) -> String {
    let pairs: Vec<String> =
        series.labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
    let text = format!("{{{}}}", pairs.join(","));
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::remote_write::Sample;

    fn series(labels: &[(&str, &str)], times: &[i64]) -> TimeSeries {
        TimeSeries {
            labels: labels
                .iter()
                .map(|(name, value)| Label { name: (*name).into(), value: (*value).into() })
                .collect(),
            samples: times.iter().map(|timestamp| Sample { value: 1.0, timestamp: *timestamp }).collect(),
            ..TimeSeries::default()
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |labels: &[(&str, &str)], times: &[i64], expected: Option<&str>| {
            assert_eq!(
                fault(&series(labels, times)).map(|(_, message)| message).as_deref(),
                expected,
                "{labels:?}"
            );
        };
        check(&[("__name__", "up")], &[1, 2], None);
        check(&[("__name__", "a:b"), ("a", "ü"), ("b", "1")], &[], None);
        check(&[("A", "1"), ("__name__", "up")], &[], None);
        check(&[], &[], Some("label `__name__` is missing"));
        check(&[("__name__", "up"), ("", "x")], &[], Some("a label without name"));
        check(&[("__name__", "up"), ("a", "")], &[], Some("label `a` is empty, leave it out"));
        check(&[("__name__", "up"), ("b", "1"), ("a", "1")], &[], Some("label `a` is not sorted by name"));
        check(&[("__name__", "up"), ("a", "1"), ("a", "2")], &[], Some("label `a` stands there twice"));
        check(
            &[("__name__", "1up")],
            &[],
            Some("`1up` is no metric name, allowed is [a-zA-Z_:][a-zA-Z0-9_:]*"),
        );
        check(
            &[("__name__", "up"), ("a-b", "1")],
            &[],
            Some("`a-b` is no label name, allowed is [a-zA-Z_][a-zA-Z0-9_]*"),
        );
        check(&[("__name__", "up")], &[2, 1], Some("samples are not in order of time"));
    }

    #[test]
    fn only_the_invalid_part_is_taken_out() {
        let good = series(&[("__name__", "good")], &[1]);
        let mut request = WriteRequest {
            timeseries: vec![
                series(&[("a", "1")], &[1, 2]),
                good.clone(),
                series(&[("__name__", "x")], &[2, 1]),
            ],
            metadata: vec![],
        };
        let refusal = validate(&mut request).unwrap();
        assert_eq!(request.timeseries, [good]);
        assert_eq!(refusal.series, 2);
        assert_eq!(refusal.first, r#"series {a="1"}: label `__name__` is missing"#);
        assert_eq!(refusal.samples["labels"].1, 2);
        assert_eq!(refusal.samples["order"].1, 2);
        assert_eq!(validate(&mut request), None);
    }
}
