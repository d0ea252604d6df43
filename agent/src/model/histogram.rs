//! Classic histograms: fixed bounds, a count per bucket, a sum.

/// Upper bounds of the buckets of a histogram, the implied last one (`+Inf`) excluded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buckets(&'static [f64]);

impl Buckets {
    /// Most bounds a histogram may have: each costs a series per label set.
    pub const MAX: usize = 18;

    /// From 1 ms to 10 s, for what the agent does itself.
    pub const AGENT: Self =
        Self::new(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);

    /// Takes finite, strictly growing bounds, at most [`Buckets::MAX`].
    ///
    /// # Panics
    /// On any others; in a constant that is an error of the build.
    pub const fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() <= Self::MAX, "too many buckets");
        let mut next = 0;
        while next < bounds.len() {
            assert!(bounds[next].is_finite(), "the bound +Inf is implied");
            assert!(next == 0 || bounds[next - 1] < bounds[next], "bounds must grow");
            next += 1;
        }
        Self(bounds)
    }

    /// The bounds, without `+Inf`.
    pub const fn bounds(self) -> &'static [f64] {
        self.0
    }
}

/// What was observed so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    buckets: Buckets,
    /// One count per bound and one for what is above all of them; not cumulative.
    counts: Box<[u64]>,
    sum: f64,
}

impl Histogram {
    /// Without observations.
    pub fn new(buckets: Buckets) -> Self {
        Self { buckets, counts: vec![0; buckets.0.len() + 1].into(), sum: 0.0 }
    }

    /// From counts made elsewhere: one per bound and one for what is above all of them, not cumulative. `None` when
    /// the number of counts does not fit the bounds.
    pub fn from_counts(buckets: Buckets, counts: impl Into<Box<[u64]>>, sum: f64) -> Option<Self> {
        let counts = counts.into();
        (counts.len() == buckets.0.len() + 1).then_some(Self { buckets, counts, sum })
    }

    /// Counts one value.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.buckets.0.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Adds what another histogram with the same bounds observed; one with others has nothing to add.
    pub fn add(&mut self, other: &Self) {
        if self.buckets == other.buckets {
            self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
            self.sum += other.sum;
        }
    }

    /// Sum of all values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Number of all values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Every finite bound with the number of values up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let running = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.buckets.0.iter().copied().zip(running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKETS: Buckets = Buckets::new(&[0.1, 1.0, 10.0]);

    #[test]
    fn a_value_counts_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::new(BUCKETS);
        for value in [0.05, 0.1, 0.5, 10.0, 11.0] {
            histogram.observe(value);
        }
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(0.1, 2), (1.0, 3), (10.0, 4)]);
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum(), 21.65);
    }

    #[test]
    fn counts_must_fit_the_bounds() {
        assert_eq!(Histogram::from_counts(BUCKETS, [1, 2, 3], 4.0), None);
        let histogram = Histogram::from_counts(BUCKETS, [1, 2, 3, 4], 4.0).unwrap();
        assert_eq!((histogram.count(), histogram.cumulative().last()), (10, Some((10.0, 6))));
    }

    #[test]
    #[should_panic(expected = "bounds must grow")]
    fn bounds_that_do_not_grow_are_refused() {
        Buckets::new(&[1.0, 1.0]);
    }
}
