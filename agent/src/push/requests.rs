//! A snapshot as remote-write requests. Pure: what was pushed last and what is to be pushed go in, requests come out.

use std::collections::HashSet;
use std::sync::Arc;

use sonde_collector::wire::remote_write::{
    Label, MetricMetadata, MetricType, NAME_LABEL, STALE_NAN_BITS, Sample as WireSample, TimeSeries,
    WriteRequest,
};

use crate::registry::{Family, Kind, Labels, Metric, Point, Sample, Snapshot, float_text};

/// Series per request: bounds the memory that the copies of the labels take to a few megabytes.
pub(super) const SERIES_PER_REQUEST: usize = 5000;
/// Value of the label `job`.
const JOB: &str = "sonde-agent";
/// The series that says that its instance was up.
const UP: &str = "up";

/// What tells this machine's series from another's, for the label `instance`. A machine's clones share its
/// `machine_id`, so the firmware's id is added when it is another.
pub fn instance_of(common: &Labels) -> String {
    let of = |name| common.get(name).unwrap_or_default();
    let (machine_id, system_uuid) = (of("machine_id"), of("system_uuid"));
    if system_uuid.is_empty() || system_uuid.replace('-', "").eq_ignore_ascii_case(machine_id) {
        machine_id.to_owned()
    } else {
        format!("{machine_id}-{system_uuid}")
    }
}

/// One request of a push.
pub(super) struct Batch {
    pub(super) request: WriteRequest,
    /// Stale markers in it.
    pub(super) ended: usize,
}

/// The requests of a push, made as they are taken: `up` first, then markers for what is gone, then everything. The
/// first one describes the metrics, if wanted.
pub(super) fn requests<'a>(
    previous: Option<&'a Snapshot>,
    snapshot: &'a Snapshot,
    describe: bool,
) -> impl Iterator<Item = Batch> + Send + 'a {
    let wire = Wire { identity: identity(&snapshot.common), at: snapshot.at.0 };
    let mut metadata = if describe { describe_all(snapshot) } else { Vec::new() };
    let gone: Vec<Line<'_>> = previous.map(|previous| gone(previous, snapshot)).unwrap_or_default();
    let mut left_to_end = gone.len();
    let mut lines = gone.into_iter().map(Line::ended).chain(all(snapshot));
    let mut up = Some(wire.up(&snapshot.common));
    std::iter::from_fn(move || {
        let room = SERIES_PER_REQUEST - usize::from(up.is_some());
        let timeseries = lines.by_ref().take(room).map(|line| wire.series(&line));
        let timeseries: Vec<TimeSeries> = up.take().into_iter().chain(timeseries).collect();
        let ended = left_to_end.min(room);
        left_to_end -= ended;
        let request = WriteRequest { timeseries, metadata: std::mem::take(&mut metadata) };
        (!request.timeseries.is_empty()).then_some(Batch { request, ended })
    })
}

/// One number to be sent.
struct Line<'a> {
    common: &'a Labels,
    metric: &'static Metric,
    sample: &'a Sample,
    point: Point,
}

impl Line<'_> {
    fn ended(mut self) -> Self {
        self.point.value = f64::from_bits(STALE_NAN_BITS);
        self
    }
}

fn all(snapshot: &Snapshot) -> impl Iterator<Item = Line<'_>> {
    let samples = snapshot.families.iter().flat_map(|family| {
        let metric = family.metric;
        family.samples.iter().map(move |sample| (metric, sample))
    });
    samples.flat_map(|(metric, sample)| lines(snapshot.labels_of(metric), metric, sample))
}

fn lines<'a>(
    common: &'a Labels,
    metric: &'static Metric,
    sample: &'a Sample,
) -> impl Iterator<Item = Line<'a>> {
    sample.value.points().map(move |point| Line { common, metric, sample, point })
}

/// Numbers of the previous snapshot that the present one has no more.
fn gone<'a>(previous: &'a Snapshot, present: &Snapshot) -> Vec<Line<'a>> {
    let mut gone = Vec::new();
    for family in &previous.families {
        let name = family.metric.name;
        let now = present.families.binary_search_by_key(&name, |family| family.metric.name);
        let common = previous.labels_of(family.metric);
        // Under other labels it is another series.
        let is_same = common == present.labels_of(family.metric);
        let now = now.ok().filter(|_| is_same).map_or(&[][..], |found| &present.families[found].samples);
        for sample in gone_of(family, now) {
            gone.extend(lines(common, family.metric, sample));
        }
    }
    gone
}

fn gone_of<'a>(family: &'a Family, now: &[Sample]) -> Vec<&'a Sample> {
    // As a rule nothing has changed, and the same label sets come in the same order.
    if family.samples.len() == now.len() && family.samples.iter().zip(now).all(|(a, b)| a.shares_labels(b)) {
        return Vec::new();
    }
    let now: HashSet<u64> = now.iter().map(Sample::digest).collect();
    family.samples.iter().filter(|sample| !now.contains(&sample.digest())).collect()
}

/// Labels that are added to all series in a push.
fn identity(common: &Labels) -> Arc<Labels> {
    Labels::new([("instance", instance_of(common)), ("job", JOB.to_owned())])
}

struct Wire {
    identity: Arc<Labels>,
    at: i64,
}

impl Wire {
    fn series(&self, line: &Line<'_>) -> TimeSeries {
        let name = format!("{}{}", line.metric.name, line.point.suffix);
        let sets = [line.common, &self.identity, &line.sample.owner, &line.sample.own];
        let mut labels: Vec<Label> = sets.into_iter().flat_map(Labels::iter).map(label).collect();
        labels.push(label((NAME_LABEL, &name)));
        if let Some(bound) = line.point.le {
            labels.push(label(("le", float_text(bound, &mut ryu::Buffer::new()))));
        }
        self.sorted(labels, line.point.value)
    }

    fn up(&self, common: &Labels) -> TimeSeries {
        let labels = common.iter().chain(self.identity.iter()).map(label).chain([label((NAME_LABEL, UP))]);
        self.sorted(labels.collect(), 1.0)
    }

    fn sorted(&self, mut labels: Vec<Label>, value: f64) -> TimeSeries {
        labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        TimeSeries {
            labels,
            samples: vec![WireSample { value, timestamp: self.at }],
            ..TimeSeries::default()
        }
    }
}

fn label((name, value): (&str, &str)) -> Label {
    Label { name: name.to_owned(), value: value.to_owned() }
}

fn describe_all(snapshot: &Snapshot) -> Vec<MetricMetadata> {
    let describe = |family: &Family| MetricMetadata {
        r#type: match family.metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
        .into(),
        metric_family_name: family.metric.name.to_owned(),
        help: family.metric.help.to_owned(),
        unit: String::new(),
    };
    snapshot.families.iter().map(describe).collect()
}
