//! The one writer of the log, without thread or clock: commits groups of records, closes segments, keeps the bounds.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::LogOptions;
use super::disk::{Disk, DiskFile};
use super::format::{Position, RecordHeader, SEGMENT_HEADER_LEN, SegmentHeader};
use super::index::{Segment, Shared};
use super::recovery::SEGMENTS;
use super::writer::Pending;

/// Why a group was not committed. No record of it is part of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {reason}")]
pub struct CommitError {
    /// Whether the disk is full.
    pub disk_full: bool,
    /// What was tried.
    pub action: &'static str,
    /// The system's reason.
    pub reason: String,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub file: Box<dyn DiskFile>,
    pub header: SegmentHeader,
    /// Confirmed bytes, from where the next group is written.
    pub bytes: u64,
}

/// The writer.
#[derive(Debug)]
pub(super) struct Store {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    shared: Arc<Shared>,
    active: Option<Active>,
    next_generation: u64,
    buffer: Vec<u8>,
}

impl Store {
    pub fn new(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        shared: Arc<Shared>,
        active: Option<Active>,
        next_generation: u64,
    ) -> Self {
        Self { disk, options, shared, active, next_generation, buffer: Vec::new() }
    }

    pub fn segments_dir(options: &LogOptions) -> PathBuf {
        options.dir.join(SEGMENTS)
    }

    /// Writes a group and makes it durable. On error none of it is in the log, and the next group may succeed.
    pub fn commit(&mut self, group: &[Pending], now_ms: i64) -> Result<(), CommitError> {
        let result = self.try_commit(group, now_ms);
        match &result {
            Ok(end) => self.count_commit(*end, group),
            Err(error) => self.count_refusal(error, group.len() as u64),
        }
        // A rare large group must not hold its memory for ever.
        self.buffer.clear();
        self.buffer.shrink_to(1 << 20);
        result.map(drop)
    }

    fn count_commit(&self, end: Position, group: &[Pending]) {
        {
            let mut index = self.shared.lock();
            index.end = end;
            index.stats.appended_records += group.len() as u64;
            index.stats.appended_samples +=
                group.iter().map(|pending| u64::from(pending.samples)).sum::<u64>();
            index.stats.appended_bytes += self.buffer.len() as u64;
        }
        self.shared.announce(end.seq);
    }

    fn count_refusal(&self, error: &CommitError, appends: u64) {
        let stats = &mut self.shared.lock().stats;
        *(if error.disk_full { &mut stats.refused_disk_full } else { &mut stats.refused_io }) += appends;
        stats.last_error = Some(error.to_string());
    }

    fn try_commit(&mut self, group: &[Pending], now_ms: i64) -> Result<Position, CommitError> {
        let incoming: u64 = group.iter().map(|pending| pending.stored_len()).sum();
        self.close_when_full(incoming, now_ms);
        self.keep_bounds(incoming, now_ms);
        let begin = self.shared.lock().end;
        let (mut active, is_new) = match self.active.take() {
            Some(active) => (active, false),
            None => (self.begin_segment(begin, now_ms)?, true),
        };
        let end = self.encode(group, begin, active.header.salt);
        if let Err(error) = active.file.write_at(&self.buffer, active.bytes) {
            // What was half written is cut off, so that the segment can go on. If that fails too it is abandoned.
            if active.file.truncate(active.bytes).is_ok() && !is_new {
                self.active = Some(active);
            } else {
                self.abandon(&active, is_new);
            }
            return Err(failed("write segment", &error));
        }
        if let Err(error) = active.file.sync() {
            self.shared.lock().stats.sync_failures += 1;
            self.abandon(&active, is_new);
            return Err(failed("fdatasync segment", &error));
        }
        active.bytes += self.buffer.len() as u64;
        self.enter(&active, is_new, group);
        self.active = Some(active);
        Ok(end)
    }

    /// Fills the buffer with the group's records; returns the place after them.
    fn encode(&mut self, group: &[Pending], begin: Position, salt: u32) -> Position {
        self.buffer.clear();
        let mut position = begin;
        for pending in group {
            let header = RecordHeader {
                length: pending.payload.len() as u32,
                kind: pending.kind.code(),
                position,
                timestamp_ms: pending.timestamp_ms,
                samples: pending.samples,
            };
            header.encode(&pending.payload, salt, &mut self.buffer);
            position = header.end();
        }
        position
    }

    /// Makes a segment whose name is durable; its header becomes durable with the first group.
    fn begin_segment(&mut self, first: Position, now_ms: i64) -> Result<Active, CommitError> {
        let dir = Self::segments_dir(&self.options);
        let generation = self.next_generation;
        self.next_generation += 1;
        let salt = RandomState::new().hash_one(generation) as u32;
        let header = SegmentHeader { generation, salt, first, created_ms: now_ms };
        let path = self.path(&header);
        let file = self.disk.create(&path).map_err(|error| failed("create segment", &error))?;
        let made = file
            .write_at(&header.encode(), 0)
            .map_err(|error| failed("write segment header", &error))
            .and_then(|()| self.disk.sync_dir(&dir).map_err(|error| failed("fsync log directory", &error)));
        if let Err(error) = made {
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        Ok(Active { file, header, bytes: SEGMENT_HEADER_LEN as u64 })
    }

    /// Writes a durable group into the index.
    fn enter(&self, active: &Active, is_new: bool, group: &[Pending]) {
        let SegmentHeader { generation, salt, first, created_ms } = active.header;
        let last_ms = group.last().map_or(created_ms, |pending| pending.timestamp_ms);
        let mut index = self.shared.lock();
        index.stats.syncs += 1;
        if is_new {
            let path = self.path(&active.header);
            let bytes = active.bytes;
            index.segments.push_back(Segment { path, generation, salt, first, bytes, created_ms, last_ms });
        } else if let Some(segment) = index.segments.back_mut() {
            segment.bytes = active.bytes;
            segment.last_ms = last_ms;
        }
    }

    /// Gives a segment up after a failure. The next begins at the first sequence that was not confirmed, which takes
    /// whatever stands in this one past the confirmed bytes out of the log; cutting it off only saves space.
    fn abandon(&self, active: &Active, is_new: bool) {
        let _ = active.file.truncate(active.bytes);
        if is_new {
            let _ = self.disk.remove(&self.path(&active.header));
        }
    }

    /// The file of a segment.
    fn path(&self, header: &SegmentHeader) -> PathBuf {
        Self::segments_dir(&self.options).join(header.file_name())
    }

    fn close_when_full(&mut self, incoming: u64, now_ms: i64) {
        let full = self.active.as_ref().is_some_and(|active| {
            let grown = active.bytes + incoming > self.options.segment_bytes;
            let aged = now_ms.saturating_sub(active.header.created_ms) >= millis(self.options.segment_age);
            (grown || aged) && active.bytes > SEGMENT_HEADER_LEN as u64
        });
        if full {
            self.active = None;
        }
    }

    /// Removes segments that every consumer delivered, and the oldest ones beyond the bounds; `incoming` bytes are
    /// about to be written. The segment being written to is never removed.
    pub fn keep_bounds(&mut self, incoming: u64, now_ms: i64) {
        loop {
            let mut index = self.shared.lock();
            let removable = index.segments.len() > usize::from(self.active.is_some());
            let Some(oldest) = index.segments.front().filter(|_| removable) else { return };
            let expired = now_ms.saturating_sub(oldest.last_ms) > millis(self.options.max_age);
            if !(expired || index.oldest_is_delivered() || index.bytes() + incoming > self.options.max_bytes)
            {
                return;
            }
            let Some(segment) = index.remove_oldest() else { return };
            drop(index);
            if let Err(error) = self.disk.remove(&segment.path) {
                tracing::warn!(path = %segment.path.display(), %error, "cannot remove segment");
            }
        }
    }

    /// Work that does not wait for an append: closes an aged segment and keeps the bounds.
    pub fn maintain(&mut self, now_ms: i64) {
        self.close_when_full(0, now_ms);
        self.keep_bounds(0, now_ms);
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn failed(action: &'static str, error: &io::Error) -> CommitError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    CommitError { disk_full: full, action, reason: error.to_string() }
}
