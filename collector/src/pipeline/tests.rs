use super::*;
use crate::log::sim::SimDisk;

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
