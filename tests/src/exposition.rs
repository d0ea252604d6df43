//! The text format of `GET /metrics`, read strictly: a line that is no comment must be a sample.
//!
//! <https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md>

use anyhow::{Context, Result, bail, ensure};

use crate::promql::Labels;

/// One sample line; the name is the label `__name__`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// All labels.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// All samples of one answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition {
    /// In the order of the answer.
    pub samples: Vec<Sample>,
}

impl Exposition {
    /// Reads the format.
    ///
    /// # Errors
    /// Names the first line that is neither comment nor sample.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| parse_line(line).with_context(|| format!("line `{line}`")));
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// The samples of this name that carry all these labels.
    pub fn select(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let has = |sample: &Sample, name: &str, value: &str| {
            sample.labels.get(name).map_or(value.is_empty(), |known| known == value)
        };
        self.samples
            .iter()
            .filter(|sample| has(sample, "__name__", name))
            .filter(|sample| labels.iter().all(|(name, value)| has(sample, name, value)))
            .collect()
    }

    /// The value of the only such sample.
    ///
    /// # Errors
    /// When there is none, with what the name has; or more than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        match self.select(name, labels).as_slice() {
            [sample] => Ok(sample.value),
            [] => bail!("no {name}{labels:?}; of this name there are {:?}", self.select(name, &[])),
            several => bail!("{} samples are {name}{labels:?}: {several:?}", several.len()),
        }
    }

    /// The sum of all such samples; zero when there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // Not `sum`: the sum of no floats is -0.
        self.select(name, labels).iter().fold(0.0, |sum, sample| sum + sample.value)
    }
}

fn parse_line(line: &str) -> Result<Sample> {
    let name_end = line.find(['{', ' ']).context("no value")?;
    let mut labels = Labels::from([("__name__".to_owned(), line[..name_end].to_owned())]);
    let mut rest = &line[name_end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = parse_labels(inside, &mut labels)?;
    }
    let mut words = rest.split_whitespace();
    let value = words.next().context("no value")?.parse().context("read the value")?;
    // A time stamp may follow.
    words.next().map(str::parse::<f64>).transpose().context("read the time stamp")?;
    ensure!(words.next().is_none(), "more than a value and a time stamp");
    Ok(Sample { labels, value })
}

/// Reads `name="value",…}` and returns what follows.
fn parse_labels<'t>(mut text: &'t str, labels: &mut Labels) -> Result<&'t str> {
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Ok(rest);
        }
        let (name, rest) = text.split_once("=\"").context("a label without a value")?;
        let (value, rest) = parse_value(rest)?;
        ensure!(labels.insert(name.to_owned(), value).is_none(), "label {name} twice");
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// Reads an escaped value up to its closing quote and returns it with what follows.
fn parse_value(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next().context("an escape at the end")?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    bail!("a value without an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_escapes_and_time_stamps() {
        let text = "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"q\\\"\\\\\\n}\"} 3 1700000000000\nb 0.5\nb_inf +Inf\n";
        let exposition = Exposition::parse(text).unwrap();
        assert_eq!(exposition.value("a", &[("x", "1")]).unwrap(), 3.0);
        assert_eq!(exposition.samples[0].labels["y"], "q\"\\\n}");
        assert_eq!(exposition.value("b", &[]).unwrap(), 0.5);
        assert_eq!(exposition.value("b_inf", &[]).unwrap(), f64::INFINITY);
        assert!(exposition.value("a", &[("x", "2")]).is_err());
        assert!(exposition.value("a", &[("z", "")]).is_ok(), "an absent label is an empty one");
    }

    #[test]
    fn a_line_that_is_no_sample_is_an_error() {
        for line in ["a", "a{x=1} 2", "a{x=\"1} 2", "a{x=\"1\"} two", "a 1 2 3", "a{x=\"1\",x=\"1\"} 2"] {
            assert!(Exposition::parse(line).is_err(), "{line}");
        }
    }
}
