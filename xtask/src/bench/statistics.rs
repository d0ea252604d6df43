//! Median and spread of a few measurements.

use std::ops::Range;

/// The middle of the values and the quarters around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The first quartile.
    pub low: f64,
    /// The third quartile.
    pub high: f64,
}

impl Summary {
    /// As percentages: the median and the quartiles.
    pub fn percent(&self) -> String {
        let Self { median, low, high } = self;
        format!("{:.1} % [{:.1}–{:.1}]", median * 100.0, low * 100.0, high * 100.0)
    }
}

/// Sums up at least one value.
pub fn summary(values: &[f64]) -> Summary {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Summary { median: quantile(&sorted, 0.5), low: quantile(&sorted, 0.25), high: quantile(&sorted, 0.75) }
}

/// Linear between the two nearest ranks.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let rank = at * last as f64;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (rank - rank.floor())
}

/// A mean without what is far below the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steady {
    /// The mean of the rest.
    pub mean: f64,
    /// How many values were left out.
    pub left_out: usize,
}

/// The mean of the values that are at least `floor` times the median, or that `kept` names; `None` of none.
pub fn steady(values: &[f64], floor: f64, kept: Range<usize>) -> Option<Steady> {
    let least = summary(values).median * floor;
    let is_in = |(index, value): &(usize, &f64)| **value >= least || kept.contains(index);
    let rest: Vec<f64> = values.iter().enumerate().filter(is_in).map(|(_, value)| *value).collect();
    let mean = rest.iter().sum::<f64>() / rest.len() as f64;
    (!rest.is_empty()).then_some(Steady { mean, left_out: values.len() - rest.len() })
}

/// Whether the first half of pair `index` runs with the agent; alternating cancels a drift of the machine.
pub fn with_agent_first(index: u32) -> bool {
    index % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_below_the_others_is_left_out() {
        let values = [10.0, 8.0, 12.0, 3.0];
        assert_eq!(steady(&values, 0.5, 0..0), Some(Steady { mean: 10.0, left_out: 1 }));
        assert_eq!(steady(&values, 0.5, 3..4), Some(Steady { mean: 8.25, left_out: 0 }));
        assert_eq!(steady(&values, 0.0, 0..0), Some(Steady { mean: 8.25, left_out: 0 }));
        assert_eq!(steady(&[], 0.5, 0..0), None);
    }

    #[test]
    fn median_and_quartiles_are_interpolated() {
        assert_eq!(summary(&[4.0, 1.0, 3.0, 2.0]), Summary { median: 2.5, low: 1.75, high: 3.25 });
        assert_eq!(summary(&[7.0]), Summary { median: 7.0, low: 7.0, high: 7.0 });
        assert!(summary(&[]).median.is_nan());
    }
}
