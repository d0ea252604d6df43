//! What the log holds, in memory: segments, consumers, counters. Shared by the writer and all consumers.
//!
//! One lock guards it all; it is held for arithmetic only, never over a read or write of a file.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use super::format::Position;
use super::stats::LogStats;

/// One segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub generation: u64,
    pub salt: u32,
    pub first: Position,
    /// Bytes that are durable.
    pub bytes: u64,
    pub created_ms: i64,
    /// When its last record was appended.
    pub last_ms: i64,
}

/// What a consumer read and did not release yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Samples.
    pub samples: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// When the oldest record of them was appended, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
}

/// One consumer, as the writer sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct ConsumerState {
    pub name: String,
    /// Next record it will read. Everything before is in its hands.
    pub read: Position,
    /// The batch it read last, until it is done with it.
    pub held: Held,
    /// What it delivered.
    pub delivered: Position,
    /// What its cursor on the disk says of that.
    pub durable: Position,
    /// Samples lost to damage.
    pub lost_damaged: u64,
    /// Samples removed by the bounds before it read them.
    pub lost_expired: u64,
}

/// Everything behind the lock.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub segments: VecDeque<Segment>,
    /// Place after the last durable record.
    pub end: Position,
    pub consumers: Vec<ConsumerState>,
    pub stats: LogStats,
}

/// The index with the signal that its end moved.
#[derive(Debug)]
pub(super) struct Shared {
    index: Mutex<Index>,
    end: watch::Sender<u64>,
}

impl Shared {
    pub fn new(index: Index) -> Self {
        let end = watch::Sender::new(index.end.seq);
        Self { index: Mutex::new(index), end }
    }

    /// The index. A panic of another thread in the middle of its arithmetic is no reason to stop forwarding.
    pub fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells the consumers how far they may read.
    pub fn announce(&self, end: u64) {
        self.end.send_replace(end);
    }

    pub fn watch_end(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }
}

impl Index {
    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Place after the last record of the segment with this number.
    pub fn segment_end(&self, number: usize) -> Position {
        self.segments.get(number + 1).map_or(self.end, |next| next.first)
    }

    /// The segment that holds the next record of a consumer at `place`; damage at borders counts as the later one.
    pub fn segment_at(&self, place: Position) -> Option<usize> {
        if place.seq >= self.end.seq {
            return None;
        }
        let after = self.segments.partition_point(|segment| segment.first.seq <= place.seq);
        // A place before the first segment is read from the first segment on.
        (!self.segments.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Takes the oldest segment out and counts, for each consumer, the samples it had not read.
    pub fn remove_oldest(&mut self) -> Option<Segment> {
        let end = self.segment_end(0);
        let segment = self.segments.pop_front()?;
        for consumer in self.consumers.iter_mut().filter(|consumer| consumer.read.seq < end.seq) {
            consumer.lost_expired += end.sample.saturating_sub(consumer.read.sample);
            consumer.read = end;
        }
        self.stats.segments_removed += 1;
        Some(segment)
    }

    /// Whether every consumer has delivered the oldest segment. Without consumers nothing counts as delivered. The last
    /// segment stays until a cursor says so: with neither, the next life would use its sequences again.
    pub fn oldest_is_delivered(&self) -> bool {
        let end = self.segment_end(0).seq;
        let is_last = self.segments.len() == 1;
        let delivered =
            |consumer: &ConsumerState| if is_last { consumer.durable } else { consumer.delivered }.seq >= end;
        !self.consumers.is_empty() && self.consumers.iter().all(delivered)
    }

    /// Bytes between a place and the end; within a segment by its share of records.
    pub fn bytes_after(&self, place: Position) -> u64 {
        let mut bytes = 0;
        for (number, segment) in self.segments.iter().enumerate() {
            let end = self.segment_end(number);
            let records = end.seq.saturating_sub(segment.first.seq);
            let pending = end.seq.saturating_sub(place.seq.max(segment.first.seq));
            let share = u128::from(segment.bytes) * u128::from(pending) / u128::from(records.max(1));
            bytes += u64::try_from(share).unwrap_or(u64::MAX);
        }
        bytes
    }

    /// When the segment that holds `place` was begun: no later than the record there was appended.
    pub fn began_ms(&self, place: Position) -> Option<i64> {
        self.segment_at(place).map(|number| self.segments[number].created_ms)
    }
}
