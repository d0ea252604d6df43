//! Questions to a Prometheus-compatible server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{http, wait};

/// Label names and values of a series.
pub type Labels = BTreeMap<String, String>;

/// A series with samples in the order of the answer: milliseconds since the epoch, and the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// All labels, the name included.
    pub labels: Labels,
    /// Time stamps and values.
    pub samples: Vec<(i64, f64)>,
}

/// The query interface of one server.
#[derive(Debug, Clone, Copy)]
pub struct Promql {
    server: SocketAddr,
}

impl Promql {
    /// Asks the server at this address.
    pub fn at(server: SocketAddr) -> Self {
        Self { server }
    }

    /// The answer to an instant query: a vector (one sample per series) or, for `selector[range]`, raw samples.
    ///
    /// # Errors
    /// When the server does not answer, refuses the expression, or answers with something else.
    pub fn series(&self, expression: &str) -> Result<Vec<Series>> {
        let path = format!("/api/v1/query?query={}&nocache=1", http::escape(expression));
        let answer = http::get(self.server, &path, &[])?;
        ensure!(answer.status == 200, "`{expression}`: {} {}", answer.status, answer.text());
        let answer: Value = serde_json::from_slice(&answer.body).context("parse the answer")?;
        let result = answer["data"]["result"].as_array().context("the answer has no result")?;
        result.iter().map(read_series).collect()
    }

    /// The value of the only series that the expression gives.
    ///
    /// # Errors
    /// Also when there is no such series, or more than one.
    pub fn value(&self, expression: &str) -> Result<f64> {
        let series = self.series(expression)?;
        ensure!(series.len() == 1, "`{expression}` gives {} series: {series:?}", series.len());
        Ok(series[0].samples[0].1)
    }

    /// Waits until the expression has the value, of a series that gets no more samples.
    #[track_caller]
    pub fn expect_now(&self, expression: &str, expected: f64) {
        wait::until(&format!("{expression} to be {expected} at {}", self.server), || {
            let value = self.value(expression).map_err(|error| format!("{error:#}"))?;
            wait::equal(value, expected)
        });
    }

    /// Waits until all expressions have their values, and keep them in samples newer than the moment of the last
    /// match: a counter that runs past the expected value does not pass.
    #[track_caller]
    pub fn expect(&self, expected: &[(String, f64)]) {
        for (expression, value) in expected {
            self.expect_now(expression, *value);
        }
        let matched = unix_seconds();
        for (expression, value) in expected {
            let fresh = wait::until(&format!("a newer sample of {expression}"), || {
                let stamp = self.value(&format!("timestamp({expression})"))?;
                ensure!(stamp > matched, "the newest is {:.1} s older", matched - stamp);
                self.value(expression)
            });
            assert!(fresh.total_cmp(value).is_eq(), "{expression} went on from {value} to {fresh}");
        }
    }
}

/// Now, by the clock that samples carry.
pub fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs_f64()
}

fn read_series(value: &Value) -> Result<Series> {
    let labels = value["metric"].as_object().context("a series has no labels")?;
    let labels = labels
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let samples: Vec<&Value> = match (&value["value"], value["values"].as_array()) {
        (_, Some(values)) => values.iter().collect(),
        (value, None) => vec![value],
    };
    Ok(Series { labels, samples: samples.into_iter().map(read_sample).collect::<Result<_>>()? })
}

fn read_sample(value: &Value) -> Result<(i64, f64)> {
    let seconds = value[0].as_f64().context("a sample has no time stamp")?;
    let value = value[1].as_str().context("a sample has no value")?.parse().context("read a value")?;
    // Milliseconds fit exactly: 2^53 of them are 285,000 years.
    #[expect(clippy::cast_possible_truncation, reason = "a time stamp in milliseconds fits i64")]
    let millis = (seconds * 1000.0).round() as i64;
    Ok((millis, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_matrices_are_read() {
        let value = serde_json::json!({"metric": {"a": "b"}, "value": [1.5, "7"]});
        let series = read_series(&value).unwrap();
        assert_eq!(series.labels, Labels::from([("a".into(), "b".into())]));
        assert_eq!(series.samples, [(1500, 7.0)]);
        let value = serde_json::json!({"metric": {}, "values": [[1, "1"], [2.001, "+Inf"]]});
        assert_eq!(read_series(&value).unwrap().samples, [(1000, 1.0), (2001, f64::INFINITY)]);
        assert!(read_series(&serde_json::json!({"metric": {}, "value": [1, 7]})).is_err());
    }
}
