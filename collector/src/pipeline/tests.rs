use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::log::sim::SimDisk;
use crate::wire::remote_write::{Label, TimeSeries};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

impl Pipeline {
    /// On a disk to play with, holding a sample; nobody listens behind the targets of these names.
    pub(crate) async fn on_sim_disk(targets: &[&str]) -> (Self, SimDisk) {
        let disk = SimDisk::default();
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        let log = Log::open(Arc::new(disk.clone()), LogOptions::new("/d", 1 << 20, DEADLINE)).unwrap();
        log.append(pending()).await.unwrap();
        let open = |name: &&str| {
            let target =
                RemoteWriteTarget { name: Some((*name).into()), .."http://127.0.0.1:1/w".parse().unwrap() };
            (Client::new(target, "test").unwrap(), log.consumer(name).unwrap())
        };
        let targets = targets.iter().map(open).collect();
        (Self::start(lock, Arc::new(log), targets), disk)
    }
}

fn pending() -> Pending {
    let payload = Bytes::from_static(b"x");
    Pending { kind: Kind::RemoteWrite1, payload, samples: 1, timestamp_ms: now_ms() }
}

/// The part that ended by itself, if one does.
async fn failed(pipeline: &Pipeline) -> &str {
    tokio::time::timeout(DEADLINE, pipeline.failed()).await.expect("nothing is known to have failed")
}

#[tokio::test]
async fn a_forwarder_that_panics_is_noticed() {
    let (pipeline, disk) = Pipeline::on_sim_disk(&["t"]).await;
    // On this one thread the forwarder has not run yet: its first read panics.
    disk.break_down();
    assert_eq!(failed(&pipeline).await, "the forwarder of target t");
}

#[tokio::test]
async fn a_writer_that_panics_is_noticed() {
    let (pipeline, disk) = Pipeline::on_sim_disk(&[]).await;
    disk.break_down();
    pipeline.append_encoded(Bytes::from_static(b"x"), 1).await.unwrap_err();
    assert_eq!(failed(&pipeline).await, "the log's writer");
}

#[tokio::test]
async fn a_stop_is_no_failure() {
    let (pipeline, _disk) = Pipeline::on_sim_disk(&["t"]).await;
    pipeline.shutdown(DEADLINE).await;
    assert!(pipeline.tasks.is_empty());
    assert!(tokio::time::timeout(Duration::ZERO, pipeline.failed()).await.is_err());
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_hold_up_the_end() {
    let (pipeline, disk) = Pipeline::on_sim_disk(&[]).await;
    let _hanging = disk.block();
    let append = pipeline.append_encoded(Bytes::from_static(b"x"), 1);
    tokio::time::timeout(Duration::from_millis(10), append).await.expect_err("the disk does not hang");
    let end = pipeline.shutdown(Duration::from_millis(10));
    tokio::time::timeout(DEADLINE, end).await.expect("the end has no deadline");
}

#[tokio::test]
async fn a_large_request_is_encoded_on_another_thread() {
    let (pipeline, _disk) = Pipeline::on_sim_disk(&[]).await;
    let label = Label { name: "a".into(), value: "b".repeat(1 << 20) };
    let series = TimeSeries { labels: vec![label], ..TimeSeries::default() };
    let request = |timeseries| WriteRequest { timeseries, metadata: vec![] };
    // Only the first step of each is taken: what is encoded within it reaches the writer, which may have it at once.
    for timeseries in [vec![series], vec![]] {
        let append = pin!(pipeline.append(request(timeseries)));
        let _ = append.poll(&mut Context::from_waker(Waker::noop()));
    }
    pipeline.shutdown(DEADLINE).await;
    let (held_before, small) = (1, 1);
    assert_eq!(pipeline.stats().log.appended_records, held_before + small);
}
