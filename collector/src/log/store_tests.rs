//! The store and its consumers on a simulated disk: one fault at a time, exact outcomes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::format::{Kind, Position};
use super::index::Shared;
use super::recovery;
use super::sim::SimDisk;
use super::store::Store;
use super::{Consumer, LogOptions, Pending};

const NOW: i64 = 1_700_000_000_000;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 1000,
        max_record_bytes: 10_000,
        ..LogOptions::new("/d", 10_000, Duration::from_secs(3600))
    }
}

struct Fixture {
    disk: SimDisk,
    shared: Arc<Shared>,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        Self::open(SimDisk::default(), options())
    }

    fn open(disk: SimDisk, options: LogOptions) -> Self {
        let (shared, store) = recovery::open(Arc::new(disk.clone()), options).unwrap();
        Self { disk, shared, store }
    }

    fn consumer(&self, name: &str) -> Consumer {
        Consumer::open(Arc::new(self.disk.clone()), self.shared.clone(), Path::new("/d/cursors"), name)
            .unwrap()
    }

    fn append(&mut self, id: u32) {
        self.store.commit(&[record(id)], NOW).unwrap();
    }

    fn segments(&self) -> Vec<(PathBuf, u64)> {
        self.disk.files().into_iter().filter(|(path, _)| path.starts_with("/d/log")).collect()
    }
}

/// A record of 100 bytes with two samples.
fn record(id: u32) -> Pending {
    let mut payload = vec![0; 100];
    payload[..4].copy_from_slice(&id.to_le_bytes());
    Pending { kind: Kind::RemoteWrite1, payload: payload.into(), samples: 2, timestamp_ms: NOW }
}

fn id_of(payload: &Bytes) -> u32 {
    u32::from_le_bytes(payload[..4].try_into().unwrap())
}

fn read_all(consumer: &mut Consumer) -> Vec<u32> {
    let mut ids = Vec::new();
    loop {
        let batch = consumer.read(300, 1000).unwrap();
        if batch.records.is_empty() {
            return ids;
        }
        ids.extend(batch.records.iter().map(|record| id_of(&record.payload)));
    }
}

fn lost(fixture: &Fixture, consumer: usize) -> (u64, u64) {
    let index = fixture.shared.lock();
    (index.consumers[consumer].lost_damaged, index.consumers[consumer].lost_expired)
}

#[test]
fn a_group_is_one_sync_and_is_read_in_order() {
    let mut fixture = Fixture::new();
    let before = fixture.disk.syncs();
    fixture.store.commit(&[record(1), record(2), record(3)], NOW).unwrap();
    assert_eq!(fixture.disk.syncs(), before + 1);
    let mut consumer = fixture.consumer("a");
    assert_eq!(read_all(&mut consumer), [1, 2, 3]);
    fixture.append(4);
    assert_eq!(read_all(&mut consumer), [4]);
}

#[test]
fn what_was_confirmed_survives_a_crash_and_the_cursor_goes_on() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    (1..=20).for_each(|id| fixture.append(id));
    let batch = consumer.read(300, 4).unwrap();
    consumer.commit(batch.end, batch.end).unwrap();
    fixture.disk.crash(1);
    let fixture = Fixture::open(fixture.disk, options());
    assert_eq!(read_all(&mut fixture.consumer("a")), (3..=20).collect::<Vec<_>>());
    assert_eq!(lost(&fixture, 0), (0, 0));
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    fixture.append(1);
    let size = fixture.segments()[0].1;
    fixture.disk.set_space(Some(50));
    let error = fixture.store.commit(&[record(2)], NOW).unwrap_err();
    assert!(error.disk_full, "{error}");
    assert_eq!(fixture.segments()[0].1, size, "the half-written record is cut off");
    fixture.disk.set_space(None);
    fixture.append(3);
    assert_eq!(read_all(&mut consumer), [1, 3]);
    assert_eq!(fixture.shared.lock().stats.refused_disk_full, 1);
    assert_eq!(lost(&fixture, 0), (0, 0));
}

#[test]
fn after_a_failed_sync_the_segment_is_abandoned_and_nothing_of_it_comes_back() {
    let mut fixture = Fixture::new();
    fixture.append(1);
    fixture.disk.fail_syncs(1);
    let error = fixture.store.commit(&[record(2)], NOW).unwrap_err();
    assert!(!error.disk_full);
    fixture.append(3);
    assert_eq!(fixture.segments().len(), 2);
    assert_eq!(fixture.shared.lock().stats.sync_failures, 1);
    fixture.disk.crash(7);
    let fixture = Fixture::open(fixture.disk, options());
    assert_eq!(read_all(&mut fixture.consumer("a")), [1, 3]);
    assert_eq!(lost(&fixture, 0), (0, 0));
}

#[test]
fn an_abandoned_segment_that_cannot_be_cut_is_read_up_to_its_confirmed_end() {
    let mut fixture = Fixture::new();
    fixture.append(1);
    fixture.disk.fail_writes(1);
    fixture.disk.fail_truncates(2);
    fixture.store.commit(&[record(2)], NOW).unwrap_err();
    fixture.append(3);
    let fixture = Fixture::open(fixture.disk, options());
    assert_eq!(read_all(&mut fixture.consumer("a")), [1, 3]);
    assert_eq!(lost(&fixture, 0), (0, 0));
}

#[test]
fn the_oldest_are_dropped_by_size_and_counted_per_consumer() {
    let mut fixture = Fixture::new();
    let mut fast = fixture.consumer("fast");
    let _slow = fixture.consumer("slow");
    for id in 1..=100 {
        fixture.append(id);
        let batch = fast.read(300, 1000).unwrap();
        assert_eq!(batch.records.len(), 1);
        assert!(fixture.shared.lock().bytes() <= options().max_bytes);
    }
    let kept = read_all(&mut fixture.consumer("new"));
    assert_eq!(*kept.last().unwrap(), 100);
    assert_eq!(lost(&fixture, 0), (0, 0));
    assert_eq!(lost(&fixture, 1), (0, 2 * (100 - kept.len() as u64)));
}

#[test]
fn the_oldest_are_dropped_by_age() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    (1..=10).for_each(|id| fixture.append(id));
    let hour = 3_600_000;
    fixture.store.maintain(NOW + hour);
    assert_eq!(lost(&fixture, 0), (0, 0));
    fixture.store.maintain(NOW + hour + 1);
    assert_eq!(lost(&fixture, 0), (0, 20));
    assert_eq!(fixture.segments(), []);
    fixture.append(11);
    assert_eq!(read_all(&mut consumer), [11]);
}

#[test]
fn delivered_segments_are_removed_and_sequences_are_not_used_again() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    (1..=10).for_each(|id| fixture.append(id));
    read_all(&mut consumer);
    let end = fixture.shared.lock().end;
    consumer.commit(end, end).unwrap();
    fixture.store.maintain(NOW + 1_800_000);
    assert_eq!(fixture.segments(), []);
    let mut fixture = Fixture::open(fixture.disk, options());
    assert_eq!(fixture.shared.lock().end, Position { seq: 10, sample: 20 });
    fixture.append(11);
    assert_eq!(read_all(&mut fixture.consumer("a")), [11]);
    assert_eq!(lost(&fixture, 0), (0, 0));
}

#[test]
fn a_damaged_record_costs_itself_only() {
    let mut fixture = Fixture::new();
    (1..=14).for_each(|id| fixture.append(id));
    let segments = fixture.segments();
    assert_eq!(segments.len(), 3);
    // The third record of the first segment, in its payload; of the second segment, in its length.
    fixture.disk.flip(&segments[0].0, 52 + 2 * 144 + 60);
    fixture.disk.flip(&segments[1].0, 52 + 2 * 144 + 10);
    let mut consumer = fixture.consumer("a");
    assert_eq!(read_all(&mut consumer), [1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14]);
    assert_eq!(lost(&fixture, 0), (4, 0));
}

#[test]
fn a_damaged_header_of_a_segment_costs_nothing() {
    let mut fixture = Fixture::new();
    (1..=14).for_each(|id| fixture.append(id));
    for (path, _) in fixture.segments() {
        fixture.disk.flip(&path, 30);
    }
    let fixture = Fixture::open(fixture.disk, options());
    assert_eq!(read_all(&mut fixture.consumer("a")), (1..=14).collect::<Vec<_>>());
    assert_eq!(lost(&fixture, 0), (0, 0));
}

#[test]
fn a_segment_that_cannot_be_read_for_now_stays() {
    let mut fixture = Fixture::new();
    (1..=14).for_each(|id| fixture.append(id));
    let segments = fixture.segments();
    fixture.disk.flip(&segments[0].0, 30);
    // The header is read and found damaged; then the search for a record fails.
    fixture.disk.fail_reads(1, 1);
    assert!(recovery::open(Arc::new(fixture.disk.clone()), options()).is_err());
    assert_eq!(fixture.segments(), segments);
    let fixture = Fixture::open(fixture.disk, options());
    assert_eq!(read_all(&mut fixture.consumer("a")), (1..=14).collect::<Vec<_>>());
}

#[test]
fn a_segment_without_anything_readable_is_put_aside() {
    let mut fixture = Fixture::new();
    (1..=14).for_each(|id| fixture.append(id));
    let segments = fixture.segments();
    let (path, size) = &segments[1];
    (0..*size).step_by(20).for_each(|offset| fixture.disk.flip(path, offset));
    let fixture = Fixture::open(fixture.disk, options());
    assert_eq!(read_all(&mut fixture.consumer("a")), [1, 2, 3, 4, 5, 6, 13, 14]);
    assert_eq!(lost(&fixture, 0), (12, 0));
    let aside = PathBuf::from(format!("{}.unreadable", path.display()));
    assert_eq!(fixture.segments(), [segments[0].clone(), (aside, *size), segments[2].clone()]);
}

#[test]
fn a_disk_that_takes_no_cursor_gets_rid_of_what_is_delivered() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    (1..=14).for_each(|id| fixture.append(id));
    read_all(&mut consumer);
    let end = fixture.shared.lock().end;
    fixture.disk.fail_syncs(1);
    consumer.commit(end, end).unwrap_err();
    fixture.store.maintain(NOW);
    assert_eq!(fixture.segments().len(), 1);
    // The next attempt makes it durable although nothing was delivered since.
    consumer.commit(end, end).unwrap();
    let fixture = Fixture::open(fixture.disk, options());
    assert_eq!(fixture.consumer("a").delivered(), end);
}

#[test]
fn bytes_that_pose_as_a_record_are_not_taken_for_one() {
    let mut fixture = Fixture::new();
    let mut forged = Vec::new();
    let header = super::format::RecordHeader {
        length: 100,
        kind: 1,
        position: Position { seq: 1, sample: 2 },
        timestamp_ms: NOW,
        samples: 2,
    };
    header.encode(&record(666).payload, 0, &mut forged);
    let pending = Pending { payload: [&[0; 100][..], &forged].concat().into(), ..record(0) };
    fixture.store.commit(&[pending, record(2)], NOW).unwrap();
    // Damage in the outer record makes the reader look for the next one inside of it.
    let path = fixture.segments()[0].0.clone();
    fixture.disk.flip(&path, 52 + 60);
    let mut consumer = fixture.consumer("a");
    assert_eq!(read_all(&mut consumer), [2]);
    assert_eq!(lost(&fixture, 0), (2, 0));
}

#[test]
fn a_half_written_end_is_cut_off_and_counted() {
    let mut fixture = Fixture::new();
    (1..=3).for_each(|id| fixture.append(id));
    let path = fixture.segments()[0].0.clone();
    fixture.disk.flip(&path, 52 + 2 * 144 + 100);
    let mut fixture = Fixture::open(fixture.disk, options());
    assert_eq!(fixture.shared.lock().stats.torn_bytes, 144);
    fixture.append(4);
    assert_eq!(read_all(&mut fixture.consumer("a")), [1, 2, 4]);
}

#[test]
fn what_retention_takes_during_a_read_is_not_delivered_as_well() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    (1..=7).for_each(|id| fixture.append(id));
    assert_eq!(consumer.read(1, 1).unwrap().records.len(), 1);
    fixture.store.maintain(NOW + 4_000_000);
    assert_eq!(consumer.read(1, 1).unwrap().records, []);
    assert_eq!(lost(&fixture, 0), (0, 12));
}

#[test]
fn what_was_about_to_be_sent_is_remembered_over_a_crash() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    (1..=4).for_each(|id| fixture.append(id));
    let first = consumer.read(1, 1).unwrap().end;
    let second = consumer.read(1, 1).unwrap().end;
    consumer.commit(first, second).unwrap();
    fixture.disk.crash(3);
    let fixture = Fixture::open(fixture.disk, options());
    let mut consumer = fixture.consumer("a");
    assert_eq!((consumer.delivered(), consumer.resent_until()), (first, second));
    assert_eq!(read_all(&mut consumer), [2, 3, 4]);
}

#[test]
fn what_an_earlier_life_may_have_sent_is_remembered_over_a_second_restart() {
    let mut fixture = Fixture::new();
    let mut consumer = fixture.consumer("a");
    (1..=4).for_each(|id| fixture.append(id));
    let first = consumer.read(1, 1).unwrap().end;
    let third = consumer.read(1, 4).unwrap().end;
    consumer.commit(Position::default(), third).unwrap();
    let fixture = Fixture::open(fixture.disk, options());
    let mut consumer = fixture.consumer("a");
    // The second life delivers one record, is sure that it sent no other, and ends.
    consumer.commit(first, first).unwrap();
    let fixture = Fixture::open(fixture.disk, options());
    let consumer = fixture.consumer("a");
    assert_eq!((consumer.delivered(), consumer.resent_until()), (first, third));
}

#[test]
fn a_new_consumer_has_sent_nothing_and_a_damaged_cursor_may_have_sent_all() {
    let mut fixture = Fixture::new();
    (1..=4).for_each(|id| fixture.append(id));
    let end = fixture.shared.lock().end;
    assert_eq!(fixture.consumer("a").resent_until(), Position::default());
    for offset in [20, 512 + 20] {
        if fixture.disk.files().iter().any(|(path, size)| path.ends_with("a.cursor") && *size > offset) {
            fixture.disk.flip(Path::new("/d/cursors/a.cursor"), offset);
        }
    }
    let mut consumer = fixture.consumer("a");
    assert_eq!((consumer.delivered(), consumer.resent_until()), (Position::default(), end));
    assert_eq!(read_all(&mut consumer), [1, 2, 3, 4]);
}
