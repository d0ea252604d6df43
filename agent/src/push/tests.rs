use std::sync::Mutex;

use sonde_collector::wire::remote_write::{MetricType, STALE_NAN_BITS, TimeSeries};

use super::stats::Counts;
use super::*;
use crate::model::{Buckets, Histogram, UnixMillis};
use crate::registry::catalog::{agent, container, tcp};
use crate::registry::{Labels, SnapshotBuilder, SourceGone};

const INTERVAL: Duration = Duration::from_secs(15);

fn snapshot(at: i64, destinations: &[&str]) -> Arc<Snapshot> {
    let web = Labels::new([("container_id", "/docker/web")]);
    let mut builder = SnapshotBuilder::default();
    for destination in destinations {
        let own = Labels::new([("destination", *destination)]);
        builder.number(&tcp::FAILED_CONNECTS_TOTAL, &web, &own, 3.0);
    }
    let mut snapshot =
        builder.build(UnixMillis(at), Labels::new([("machine_id", "m"), ("system_uuid", "m")]));
    snapshot.families.retain(|family| !family.metric.name.starts_with("sonde_"));
    Arc::new(snapshot)
}

/// Gives prepared snapshots: the same one while it is young enough, then the next, the last one for ever.
struct Prepared {
    left: Mutex<Vec<Arc<Snapshot>>>,
    given: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

impl Prepared {
    fn new(snapshots: Vec<Arc<Snapshot>>) -> Self {
        Self { left: Mutex::new(snapshots), given: Mutex::new(None) }
    }
}

impl Source for Prepared {
    async fn snapshot(&self, max_age: Duration) -> Result<Arc<Snapshot>, SourceGone> {
        let mut given = self.given.lock().unwrap();
        if let Some((at, snapshot)) = &*given
            && !max_age.is_zero()
            && at.elapsed() <= max_age
        {
            return Ok(snapshot.clone());
        }
        let mut left = self.left.lock().unwrap();
        let next = if left.len() > 1 { left.remove(0) } else { left.first().cloned().ok_or(SourceGone)? };
        *given = Some((Instant::now(), next.clone()));
        Ok(next)
    }
}

/// Takes requests, each after a time, unless told to refuse.
#[derive(Default)]
struct Taken {
    requests: Mutex<Vec<WriteRequest>>,
    takes: Mutex<Duration>,
    full: Mutex<bool>,
}

impl Queue for Arc<Taken> {
    async fn append(&self, request: WriteRequest) -> Result<(), AppendError> {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        if *self.full.lock().unwrap() {
            return Err(AppendError::DiskFull { path: "/full".into() });
        }
        self.requests.lock().unwrap().push(request);
        Ok(())
    }
}

/// A running push loop.
struct Loop {
    queue: Arc<Taken>,
    stats: Arc<Stats>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Loop {
    fn start(snapshots: Vec<Arc<Snapshot>>) -> Self {
        let (queue, stats) = (Arc::new(Taken::default()), Arc::new(Stats::default()));
        let stop = CancellationToken::new();
        let source = Prepared::new(snapshots);
        let task = tokio::spawn(run(source, queue.clone(), INTERVAL, stats.clone(), stop.clone()));
        Self { queue, stats, stop, task }
    }

    /// Lets the clock, which is paused, go on.
    async fn pass(&self, intervals: f64) {
        tokio::time::sleep(INTERVAL.mul_f64(intervals)).await;
    }

    async fn stop(self) -> (Vec<WriteRequest>, Counts) {
        self.stop.cancel();
        self.task.await.unwrap();
        (std::mem::take(&mut self.queue.requests.lock().unwrap()), self.stats.counts())
    }
}

/// A series as text: `name{label="value",…} value @time`, with `stale` for the marker.
fn text(series: &TimeSeries) -> String {
    let labels: Vec<String> =
        series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
    let [sample] = series.samples[..] else { panic!("{} samples", series.samples.len()) };
    let value = match sample.value {
        value if value.to_bits() == STALE_NAN_BITS => "stale".to_owned(),
        value => value.to_string(),
    };
    format!("{} {value} @{}", labels.join(","), sample.timestamp)
}

fn texts(request: &WriteRequest) -> Vec<String> {
    request.timeseries.iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn every_interval_is_pushed_and_the_end_too() {
    let pushing = Loop::start((1..=9).map(|at| snapshot(at, &["a:1"])).collect());
    pushing.pass(2.5).await;
    let (requests, counts) = pushing.stop().await;
    let expected: Vec<[String; 2]> = (1..=4)
        .map(|at| {
            [
                format!("__name__=up,instance=m,job=sonde-agent,machine_id=m,system_uuid=m 1 @{at}"),
                format!(
                    "__name__=container_net_tcp_failed_connects_total,container_id=/docker/web,destination=a:1,\
                     instance=m,job=sonde-agent,machine_id=m,system_uuid=m 3 @{at}"
                ),
            ]
        })
        .collect();
    assert_eq!(requests.iter().map(texts).collect::<Vec<_>>(), expected);
    assert_eq!(counts, Counts { appended: 4, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn what_vanished_is_marked_once() {
    let pushing = Loop::start(vec![
        snapshot(1, &["a:1", "b:1"]),
        snapshot(2, &["b:1", "c:1"]),
        snapshot(3, &["b:1", "c:1"]),
    ]);
    pushing.pass(1.5).await;
    let (requests, counts) = pushing.stop().await;
    let marked: Vec<Vec<String>> = requests
        .iter()
        .map(|request| texts(request).into_iter().filter(|series| series.contains("stale")).collect())
        .collect();
    let marker = "__name__=container_net_tcp_failed_connects_total,container_id=/docker/web,destination=a:1,\
                  instance=m,job=sonde-agent,machine_id=m,system_uuid=m stale @2";
    assert_eq!(marked, [vec![], vec![marker.to_owned()], vec![]]);
    assert_eq!((counts.appended, counts.stale_markers), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_family_that_vanished_is_marked_with_all_its_parts() {
    let mut builder = SnapshotBuilder::default();
    let histogram = Arc::new(Histogram::new(Buckets::new(&[0.5, 1.0])));
    builder.histogram(&agent::SNAPSHOT_DURATION_SECONDS, &Labels::empty(), &Labels::empty(), &histogram);
    let mut first = builder.build(UnixMillis(1), Labels::empty());
    first.families.retain(|family| family.metric.name == agent::SNAPSHOT_DURATION_SECONDS.name);
    let pushing = Loop::start(vec![Arc::new(first), snapshot(2, &[])]);
    pushing.pass(0.5).await;
    let (requests, counts) = pushing.stop().await;
    let names = |request: &WriteRequest| {
        let parts = texts(request).into_iter();
        parts.map(|part| part.replace("sonde_agent_snapshot_duration_seconds", "")).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&requests[0])[1..],
        [
            "__name__=_bucket,job=sonde-agent,le=0.5 0 @1",
            "__name__=_bucket,job=sonde-agent,le=1.0 0 @1",
            "__name__=_bucket,job=sonde-agent,le=+Inf 0 @1",
            "__name__=_sum,job=sonde-agent 0 @1",
            "__name__=_count,job=sonde-agent 0 @1",
        ]
    );
    assert_eq!(requests[1].timeseries.iter().filter(|series| text(series).contains("stale @2")).count(), 5);
    assert_eq!(counts.stale_markers, 5);
}

#[tokio::test(start_paused = true)]
async fn intervals_that_a_slow_disk_costs_are_counted() {
    let pushing = Loop::start((1..=9).map(|at| snapshot(at, &[])).collect());
    *pushing.queue.takes.lock().unwrap() = INTERVAL.mul_f64(2.5);
    // Due at 0, 1, 2, …: pushed from 0 to 2.5, from 3 to 5.5, from 6 to 8.5, and at the end.
    pushing.pass(6.5).await;
    let (_, counts) = pushing.stop().await;
    assert_eq!((counts.appended, counts.missed, counts.failed), (4, 6, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_counted_and_pushing_goes_on() {
    let pushing = Loop::start(vec![snapshot(1, &["a:1"]), snapshot(2, &["b:1"]), snapshot(3, &["b:1"])]);
    pushing.pass(0.5).await;
    *pushing.queue.full.lock().unwrap() = true;
    pushing.pass(1.0).await;
    assert_eq!(pushing.stats.counts().last_error.as_deref(), Some("no space left in /full"));
    *pushing.queue.full.lock().unwrap() = false;
    pushing.pass(1.0).await;
    let (requests, counts) = pushing.stop().await;
    // What vanished while the disk was full is marked as soon as it can be.
    assert_eq!(texts(&requests[1]).iter().filter(|series| series.contains("destination=a:1")).count(), 1);
    assert_eq!(counts, Counts { appended: 3, failed: 1, stale_markers: 1, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn the_last_push_has_what_happened_since_the_one_before() {
    let pushing = Loop::start(vec![snapshot(1, &["a:1"]), snapshot(2, &["a:1"])]);
    pushing.pass(0.1).await;
    let (requests, _) = pushing.stop().await;
    let last = texts(requests.last().unwrap());
    assert!(last.iter().all(|series| series.ends_with("@2")), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn metrics_are_described_every_minute() {
    let pushing = Loop::start((1..=99).map(|at| snapshot(at, &["a:1"])).collect());
    pushing.pass(8.5).await;
    let (requests, _) = pushing.stop().await;
    let described: Vec<usize> =
        (0..requests.len()).filter(|index| !requests[*index].metadata.is_empty()).collect();
    assert_eq!(described, [0, 4, 8]);
    let [metadata] = &requests[0].metadata[..] else { panic!("{:?}", requests[0].metadata) };
    assert_eq!(metadata.metric_family_name, tcp::FAILED_CONNECTS_TOTAL.name);
    assert_eq!((metadata.r#type(), &*metadata.help), (MetricType::Counter, tcp::FAILED_CONNECTS_TOTAL.help));
}

#[test]
fn a_large_snapshot_is_cut_and_every_series_is_in_it_once() {
    let many = |at, from| {
        let mut builder = SnapshotBuilder::default();
        for n in from..from + 7000 {
            let own = Labels::new([("image", format!("{n}"))]);
            builder.number(&container::INFO, &Labels::empty(), &own, 1.0);
        }
        let mut snapshot = builder.build(UnixMillis(at), Labels::empty());
        snapshot.families.retain(|family| family.metric.name == container::INFO.name);
        snapshot
    };
    let (previous, present) = (many(1, 0), many(2, 6000));
    let batches: Vec<_> = requests::requests(Some(&previous), &present, false).collect();
    let sizes: Vec<_> = batches.iter().map(|batch| (batch.request.timeseries.len(), batch.ended)).collect();
    assert_eq!(sizes, [(5000, 4999), (5000, 1001), (3001, 0)]);
    let all: Vec<String> = batches.iter().flat_map(|batch| texts(&batch.request)).collect();
    assert_eq!(all.iter().filter(|series| series.ends_with("stale @2")).count(), 6000);
    assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 13_001);
}

#[test]
fn labels_are_sorted_by_name() {
    let snapshot = snapshot(1, &["a:1"]);
    for batch in requests::requests(None, &snapshot, true) {
        for series in &batch.request.timeseries {
            assert!(series.labels.is_sorted_by_key(|label| &label.name), "{}", text(series));
        }
    }
}

#[test]
fn clones_of_a_machine_are_told_apart() {
    let instance = |machine_id, system_uuid| {
        instance_of(&Labels::new([("machine_id", machine_id), ("system_uuid", system_uuid)]))
    };
    assert_eq!(instance("4f5c", ""), "4f5c");
    assert_eq!(instance("4f5c", "4F-5C"), "4f5c");
    assert_eq!(instance("4f5c", "9-9"), "4f5c-9-9");
}
