//! Percentages of the last 15 s. Pure: one push per question, which comes every second.

use std::collections::{BTreeMap, VecDeque};

use super::{ProcessUse, Range};

/// Questions that count.
const SLOTS: usize = 15;
/// Processes that are kept of one question; a GPU has room for far fewer.
const MAX_PROCESSES: usize = 1024;

/// The device's own samples between two questions.
#[derive(Debug, Default)]
pub(super) struct Samples {
    slots: VecDeque<Vec<f64>>,
}

impl Samples {
    /// Takes what came since the last question.
    pub(super) fn push(&mut self, samples: Vec<f64>) {
        self.slots.push_back(samples);
        if self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
    }

    /// Average and largest; `None` without samples.
    pub(super) fn range(&self) -> Option<Range> {
        let count = self.slots.iter().map(Vec::len).sum::<usize>();
        let all = || self.slots.iter().flatten();
        (count > 0).then(|| Range {
            average: all().sum::<f64>() / count as f64,
            peak: all().fold(0.0, |peak, sample| sample.max(peak)),
        })
    }
}

/// One sample of a process: its id, percent of compute and of memory.
pub(super) type ProcessSample = (u32, f64, f64);

/// The processes' samples between two questions.
#[derive(Debug, Default)]
pub(super) struct Processes {
    slots: VecDeque<BTreeMap<u32, (f64, f64)>>,
}

impl Processes {
    /// Takes what came since the last question. Of several samples of a process their average counts; a process without
    /// any did nothing.
    pub(super) fn push(&mut self, samples: &[ProcessSample]) {
        let mut sums: BTreeMap<u32, (f64, f64, f64)> = BTreeMap::new();
        for (pid, compute, memory) in samples {
            if sums.len() < MAX_PROCESSES || sums.contains_key(pid) {
                let sum = sums.entry(*pid).or_default();
                *sum = (sum.0 + compute, sum.1 + memory, sum.2 + 1.0);
            }
        }
        let averages =
            sums.into_iter().map(|(pid, (compute, memory, count))| (pid, (compute / count, memory / count)));
        self.slots.push_back(averages.collect());
        if self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
    }

    /// Averages over the questions that count, by process.
    pub(super) fn uses(&self) -> Vec<ProcessUse> {
        let count = self.slots.len() as f64;
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (pid, (compute, memory)) in self.slots.iter().flatten() {
            let sum = sums.entry(*pid).or_default();
            *sum = (sum.0 + compute, sum.1 + memory);
        }
        let average = |(pid, (compute, memory)): (u32, (f64, f64))| ProcessUse {
            pid,
            compute_percent: compute / count,
            memory_percent: memory / count,
        };
        sums.into_iter().map(average).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_averaged_over_the_window() {
        let mut samples = Samples::default();
        assert_eq!(samples.range(), None);
        samples.push(vec![100.0]);
        for _ in 0..14 {
            samples.push(vec![10.0, 20.0]);
        }
        let range = samples.range().unwrap();
        assert_eq!((range.peak, range.average), (100.0, (100.0 + 14.0 * 30.0) / 29.0));
        samples.push(Vec::new());
        assert_eq!(samples.range(), Some(Range { average: 15.0, peak: 20.0 }), "the first has left");
        (0..15).for_each(|_| samples.push(Vec::new()));
        assert_eq!(samples.range(), None);
    }

    #[test]
    fn processes_are_averaged_over_the_window() {
        let mut processes = Processes::default();
        assert!(processes.uses().is_empty());
        processes.push(&[(7, 60.0, 30.0), (7, 40.0, 10.0), (8, 15.0, 0.0)]);
        processes.push(&[]);
        let seven = ProcessUse { pid: 7, compute_percent: 25.0, memory_percent: 10.0 };
        let eight = ProcessUse { pid: 8, compute_percent: 7.5, memory_percent: 0.0 };
        assert_eq!(processes.uses(), [seven, eight]);
        (0..15).for_each(|_| processes.push(&[]));
        assert!(processes.uses().is_empty());
    }
}
