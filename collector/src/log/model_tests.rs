//! Random appends, faults, reads, crashes and restarts against a model that fits in a few lines:
//! whatever was confirmed is delivered exactly in order, and nothing is delivered that was never appended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::format::{Kind, Position};
use super::index::Shared;
use super::recovery;
use super::sim::SimDisk;
use super::store::Store;
use super::{Consumer, LogOptions, Pending};

#[derive(Clone, Debug)]
enum Step {
    /// A group of this many records, with payloads of this many bytes.
    Append(u8, u16),
    FailSyncs(u8),
    FailWrites(u8),
    FailTruncates(u8),
    Space(Option<u16>),
    /// Read this many bytes, and commit the cursor or not.
    Read(u16, bool),
    Crash(u64),
    Restart,
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1u8..5, 0u16..700).prop_map(|(count, size)| Step::Append(count, size)),
        1 => (0u8..3).prop_map(Step::FailSyncs),
        1 => (0u8..3).prop_map(Step::FailWrites),
        1 => (0u8..3).prop_map(Step::FailTruncates),
        1 => proptest::option::of(0u16..2000).prop_map(Step::Space),
        4 => (0u16..2000, any::<bool>()).prop_map(|(bytes, commit)| Step::Read(bytes, commit)),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => Just(Step::Restart),
        1 => Just(Step::Maintain),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    disk: SimDisk,
    shared: Arc<Shared>,
    store: Store,
    consumer: Consumer,
    /// Ids in order of appending, and whether each was confirmed.
    appended: Vec<(u32, bool)>,
    /// Ids handed to the consumer before its last durable commit.
    delivered: Vec<u32>,
    /// Ids read since, each with the place after it.
    in_hand: Vec<(u32, Position)>,
    /// Place of the last commit that was tried.
    tried: Position,
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::default();
        let (shared, store, consumer) = open(&disk);
        let (appended, delivered, in_hand) = (vec![], vec![], vec![]);
        Self { disk, shared, store, consumer, appended, delivered, in_hand, tried: Position::default() }
    }

    fn reopen(&mut self) {
        (self.shared, self.store, self.consumer) = open(&self.disk);
        // A commit that reported a failure may have reached the disk all the same, or let segments be removed.
        let goes_on = self.shared.lock().consumers[0].read;
        let done = self.consumer.delivered().max(goes_on.min(self.tried));
        self.delivered.extend(self.in_hand.drain(..).filter(|(_, end)| *end <= done).map(|(id, _)| id));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(count, size) => self.append(*count, *size),
            Step::FailSyncs(count) => self.disk.fail_syncs((*count).into()),
            Step::FailWrites(count) => self.disk.fail_writes((*count).into()),
            Step::FailTruncates(count) => self.disk.fail_truncates((*count).into()),
            Step::Space(space) => self.disk.set_space(space.map(u64::from)),
            Step::Read(bytes, commit) => self.read((*bytes).into(), *commit),
            Step::Maintain => self.store.maintain(0),
            Step::Restart => {
                self.heal();
                self.reopen();
            }
            Step::Crash(seed) => {
                self.disk.crash(*seed);
                self.reopen();
            }
        }
    }

    fn heal(&self) {
        self.disk.fail_syncs(0);
        self.disk.fail_writes(0);
        self.disk.fail_truncates(0);
        self.disk.set_space(None);
    }

    fn append(&mut self, count: u8, size: u16) {
        let first = self.appended.len() as u32;
        let group: Vec<Pending> = (first..first + u32::from(count))
            .map(|id| {
                let mut payload = id.to_le_bytes().to_vec();
                payload.resize(4 + usize::from(size), id as u8);
                Pending { kind: Kind::RemoteWrite1, payload: payload.into(), samples: 1, timestamp_ms: 0 }
            })
            .collect();
        let confirmed = self.store.commit(&group, 0).is_ok();
        self.appended.extend((first..).take(group.len()).map(|id| (id, confirmed)));
    }

    fn read(&mut self, bytes: u64, commit: bool) {
        let batch = self.consumer.read(bytes, 1000).unwrap();
        for record in &batch.records {
            self.in_hand.push((u32::from_le_bytes(record.payload[..4].try_into().unwrap()), record.end));
        }
        if commit {
            self.tried = batch.end;
        }
        if commit && self.consumer.commit(batch.end, batch.end).is_ok() {
            self.delivered.extend(self.in_hand.drain(..).map(|(id, _)| id));
        }
    }

    /// Reads the rest and compares all with the model.
    fn check(mut self) {
        self.heal();
        loop {
            let before = self.delivered.len();
            self.read(1_000_000, true);
            if self.delivered.len() == before {
                break;
            }
        }
        let all = &self.delivered;
        assert!(all.is_sorted_by(|a, b| a < b), "out of order or twice: {all:?}");
        let missing: Vec<u32> =
            self.appended.iter().filter(|(id, ok)| *ok && !all.contains(id)).map(|(id, _)| *id).collect();
        assert!(missing.is_empty(), "confirmed and not delivered: {missing:?}");
        let index = self.shared.lock();
        assert_eq!(index.consumers[0].read, index.end);
    }
}

fn open(disk: &SimDisk) -> (Arc<Shared>, Store, Consumer) {
    let options =
        LogOptions { segment_bytes: 1500, ..LogOptions::new("/d", 1 << 30, Duration::from_secs(3600)) };
    let (shared, store) = recovery::open(Arc::new(disk.clone()), options).unwrap();
    let consumer =
        Consumer::open(Arc::new(disk.clone()), shared.clone(), Path::new("/d/cursors"), "c").unwrap();
    assert!(consumer.delivered() <= shared.lock().end);
    assert!(consumer.resent_until() >= Position::default());
    (shared, store, consumer)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_confirmed_is_delivered_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.check();
    }
}
