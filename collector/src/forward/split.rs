//! Cutting a request in halves, to find what in it is refused.
//!
//! It is cut by time first: samples of one age share their fate more often than those of one series.

use crate::wire::remote_write::{TimeSeries, WriteRequest};

/// Two requests that together are the given one, the first to be sent first; or the request itself when it holds a
/// single sample, histogram, exemplar or metadata entry.
pub(super) fn split(request: WriteRequest) -> Result<(WriteRequest, WriteRequest), WriteRequest> {
    let cut = if request.metadata.is_empty() { middle_time(&request) } else { None };
    match cut {
        Some(cut) => Ok(split_at_time(request, cut)),
        None => split_entries(request),
    }
}

/// The median of all times if something is earlier, else the next later one; `None` when all is of one time.
fn middle_time(request: &WriteRequest) -> Option<i64> {
    let samples = request.timeseries.iter().flat_map(|series| &series.samples).map(|s| s.timestamp);
    let histograms = request.timeseries.iter().flat_map(|series| &series.histograms).map(|h| h.timestamp);
    let mut times: Vec<i64> = samples.chain(histograms).collect();
    times.sort_unstable();
    let median = *times.get(times.len() / 2)?;
    if median > times[0] { Some(median) } else { times.into_iter().find(|time| *time > median) }
}

/// What is earlier than `cut`, and the rest. An exemplar stays behind the samples of its series.
fn split_at_time(request: WriteRequest, cut: i64) -> (WriteRequest, WriteRequest) {
    let (mut first, mut second) = (WriteRequest::default(), WriteRequest::default());
    for series in request.timeseries {
        let (early, late): (Vec<_>, Vec<_>) = series.samples.into_iter().partition(|s| s.timestamp < cut);
        let (early_histograms, late_histograms): (Vec<_>, Vec<_>) =
            series.histograms.into_iter().partition(|h| h.timestamp < cut);
        let mut before = TimeSeries { samples: early, histograms: early_histograms, ..TimeSeries::default() };
        let mut after = TimeSeries { samples: late, histograms: late_histograms, ..TimeSeries::default() };
        let ends_early = after.samples.is_empty() && after.histograms.is_empty() && !is_empty(&before);
        (if ends_early { &mut before } else { &mut after }).exemplars = series.exemplars;
        if !is_empty(&before) {
            before.labels.clone_from(&series.labels);
            first.timeseries.push(before);
        }
        if !is_empty(&after) {
            after.labels = series.labels;
            second.timeseries.push(after);
        }
    }
    (first, second)
}

fn is_empty(series: &TimeSeries) -> bool {
    series.samples.is_empty() && series.histograms.is_empty() && series.exemplars.is_empty()
}

fn split_entries(mut request: WriteRequest) -> Result<(WriteRequest, WriteRequest), WriteRequest> {
    let entries = request.timeseries.len() + request.metadata.len();
    if entries > 1 {
        // Metadata is refused for reasons of its own, so it is parted from samples first.
        let metadata_at = if request.timeseries.is_empty() { request.metadata.len() / 2 } else { 0 };
        let series_at = if request.metadata.is_empty() || request.timeseries.is_empty() {
            request.timeseries.len() / 2
        } else {
            request.timeseries.len()
        };
        let second = WriteRequest {
            timeseries: request.timeseries.split_off(series_at),
            metadata: request.metadata.split_off(metadata_at),
        };
        return Ok((request, second));
    }
    let Some(series) = request.timeseries.first_mut() else { return Err(request) };
    match split_series(series) {
        None => Err(request),
        Some(second) => Ok((request, WriteRequest { timeseries: vec![second], metadata: Vec::new() })),
    }
}

/// Takes the later half out of a series: exemplars first, then histograms, then samples.
fn split_series(series: &mut TimeSeries) -> Option<TimeSeries> {
    let kinds = [!series.samples.is_empty(), !series.histograms.is_empty(), !series.exemplars.is_empty()];
    let mut second = TimeSeries { labels: series.labels.clone(), ..TimeSeries::default() };
    if kinds.iter().filter(|present| **present).count() > 1 {
        if kinds[2] {
            second.exemplars = std::mem::take(&mut series.exemplars);
        } else {
            second.histograms = std::mem::take(&mut series.histograms);
        }
        return Some(second);
    }
    match (series.samples.len(), series.histograms.len(), series.exemplars.len()) {
        (count @ 2.., _, _) => second.samples = series.samples.split_off(count / 2),
        (_, count @ 2.., _) => second.histograms = series.histograms.split_off(count / 2),
        (_, _, count @ 2..) => second.exemplars = series.exemplars.split_off(count / 2),
        _ => return None,
    }
    Some(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::remote_write::{Exemplar, Histogram, Label, MetricMetadata, Sample};
    use proptest::prelude::*;

    fn series(id: usize, samples: usize, histograms: usize, exemplars: usize) -> TimeSeries {
        let time = |index: usize| index as i64;
        TimeSeries {
            labels: vec![Label { name: "id".into(), value: id.to_string() }],
            samples: (0..samples).map(|i| Sample { value: 0.0, timestamp: time(i) }).collect(),
            histograms: (0..histograms)
                .map(|i| Histogram { timestamp: time(i), ..Histogram::default() })
                .collect(),
            exemplars: (0..exemplars)
                .map(|i| Exemplar { timestamp: time(i), ..Exemplar::default() })
                .collect(),
        }
    }

    /// Splits to the end; returns the single pieces in the order they would be sent.
    fn atoms(request: WriteRequest) -> Vec<WriteRequest> {
        match split(request) {
            Err(atom) => vec![atom],
            Ok((first, second)) => [atoms(first), atoms(second)].concat(),
        }
    }

    proptest! {
        #[test]
        fn splitting_ends_in_single_pieces_in_order(
            shape in proptest::collection::vec((0usize..5, 0usize..4, 0usize..3), 0..6), metadata in 0usize..4,
        ) {
            let request = WriteRequest {
                timeseries: shape.iter().enumerate().map(|(id, (s, h, e))| series(id, *s, *h, *e)).collect(),
                metadata: vec![MetricMetadata::default(); metadata],
            };
            let pieces = atoms(request.clone());
            let mut samples: Vec<(String, i64)> = Vec::new();
            for piece in &pieces {
                prop_assert!(piece.timeseries.len() + piece.metadata.len() <= 1);
                for series in &piece.timeseries {
                    prop_assert!(series.samples.len() + series.histograms.len() + series.exemplars.len() <= 1);
                    samples.extend(series.samples.iter().map(|s| (series.labels[0].value.clone(), s.timestamp)));
                }
            }
            // By time first, then in the order of the request.
            let mut expected: Vec<(String, i64)> = request.timeseries.iter()
                .flat_map(|series| series.samples.iter().map(|s| (series.labels[0].value.clone(), s.timestamp)))
                .collect();
            expected.sort_by_key(|(_, time)| *time);
            prop_assert_eq!(samples, expected);
            prop_assert_eq!(pieces.iter().map(WriteRequest::sample_count).sum::<u64>(), request.sample_count());
            prop_assert_eq!(pieces.iter().map(|piece| piece.metadata.len()).sum::<usize>(), metadata);
            let exemplars = |request: &WriteRequest| request.timeseries.iter().map(|s| s.exemplars.len()).sum::<usize>();
            prop_assert_eq!(pieces.iter().map(exemplars).sum::<usize>(), exemplars(&request));
        }
    }
}
