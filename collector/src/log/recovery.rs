//! Opening a directory that an earlier life left behind, in whatever state.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogOptions;
use super::cursor;
use super::disk::{Disk, DiskFile};
use super::format::{Position, SEGMENT_HEADER_LEN, SegmentHeader};
use super::index::{Index, Segment, Shared};
use super::scan::Scanner;
use super::store::{Active, Store};

/// Name of the directory of segments.
pub(super) const SEGMENTS: &str = "log";
/// Name of the directory of cursors.
pub(super) const CURSORS: &str = "cursors";

/// Recovers the index and the writer.
pub(super) fn open(disk: Arc<dyn Disk>, options: LogOptions) -> io::Result<(Arc<Shared>, Store)> {
    let dir = Store::segments_dir(&options);
    disk.create_dir(&dir)?;
    disk.create_dir(&options.dir.join(CURSORS))?;
    disk.sync_dir(&options.dir)?;
    // A segment that was abandoned and removed must not come back after a later crash and cut off what follows.
    disk.sync_dir(&dir)?;
    let (mut segments, next_generation) = list_segments(&*disk, &dir)?;
    drop_empty(&*disk, &mut segments);
    let mut index = Index { segments, ..Index::default() };
    index.stats.max_bytes = options.max_bytes;
    let mut active = None;
    if let Some(last) = index.segments.back_mut() {
        let (tail, end, torn) = recover_tail(&*disk, last)?;
        index.end = end;
        index.stats.torn_bytes = torn;
        active = Some(tail);
    }
    // Segments that were delivered are gone, and sequences must never be used twice: cursors know them too.
    let known = furthest_cursor(&*disk, &options.dir.join(CURSORS))?;
    if known.seq > index.end.seq {
        index.end = known;
        active = None;
    }
    let shared = Arc::new(Shared::new(index));
    Ok((shared.clone(), Store::new(disk, options, shared, active, next_generation)))
}

/// The files of segments by generation, each with what its name says of it.
pub(super) fn named_segments(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<(SegmentHeader, PathBuf)>> {
    let mut named: Vec<(SegmentHeader, PathBuf)> = disk
        .list(dir)?
        .iter()
        .filter_map(|name| Some((SegmentHeader::from_file_name(name)?, dir.join(name))))
        .collect();
    named.sort_by_key(|(header, _)| header.generation);
    Ok(named)
}

/// All segments by generation, and the generation of the next.
fn list_segments(disk: &dyn Disk, dir: &Path) -> io::Result<(VecDeque<Segment>, u64)> {
    let named = named_segments(disk, dir)?;
    let next = named.last().map_or(0, |(header, _)| header.generation + 1);
    let mut segments: VecDeque<Segment> = VecDeque::new();
    for (named, path) in named {
        let file = disk.open(&path)?;
        let bytes = file.size()?;
        let mut head = [0; SEGMENT_HEADER_LEN];
        let filled = file.read_at(&mut head, 0)?;
        let (generation, salt) = (named.generation, named.salt);
        let header = SegmentHeader::decode(&head[..filled]).filter(|header| header.generation == generation);
        let header = match header {
            Some(header) => header,
            None => match header_from_record(file, named, bytes)? {
                Some(header) => header,
                None => {
                    put_aside(disk, &path, bytes)?;
                    continue;
                }
            },
        };
        let SegmentHeader { first, created_ms, .. } = header;
        // A segment takes no more records once the next was begun.
        if let Some(previous) = segments.back_mut() {
            previous.last_ms = created_ms.max(previous.created_ms);
        }
        segments.push_back(Segment { path, generation, salt, first, bytes, created_ms, last_ms: created_ms });
    }
    Ok((segments, next))
}

/// A damaged header, made anew: the name tells most of it, and the first record that can be read the samples before.
fn header_from_record(
    file: Box<dyn DiskFile>,
    named: SegmentHeader,
    bytes: u64,
) -> io::Result<Option<SegmentHeader>> {
    let found = Scanner::new(file, named.salt).next(bytes, named.first.seq..u64::MAX)?;
    Ok(found.map(|found| {
        let first = Position { seq: named.first.seq, sample: found.header.position.sample };
        SegmentHeader { first, created_ms: found.header.timestamp_ms, ..named }
    }))
}

/// Takes a segment without header and records out of the log. If it holds anything, it is kept for people to look at.
fn put_aside(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<()> {
    if bytes <= SEGMENT_HEADER_LEN as u64 {
        // Begun, and never written to before the power went.
        tracing::warn!(path = %path.display(), "empty segment removed");
        return disk.remove(path);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    tracing::error!(path = %path.display(), bytes, "segment without any readable record renamed to *.unreadable");
    disk.rename(path, Path::new(&aside))
}

/// Removes segments that the next one begins over: they were abandoned before anything in them was confirmed.
fn drop_empty(disk: &dyn Disk, segments: &mut VecDeque<Segment>) {
    let mut next_first = u64::MAX;
    let mut kept = VecDeque::new();
    while let Some(segment) = segments.pop_back() {
        if segment.first.seq >= next_first {
            let _ = disk.remove(&segment.path);
        } else {
            next_first = segment.first.seq;
            kept.push_front(segment);
        }
    }
    *segments = kept;
}

/// Finds the end of the last segment, cuts off what is behind it, and makes the rest durable: it may have been in the
/// page cache only, and consumers are about to rely on it.
fn recover_tail(disk: &dyn Disk, last: &mut Segment) -> io::Result<(Active, Position, u64)> {
    let mut scanner = Scanner::new(disk.open(&last.path)?, last.salt);
    let mut end = last.first;
    while let Some(found) = scanner.next(last.bytes, end.seq..u64::MAX)? {
        end = found.header.end();
        last.last_ms = found.header.timestamp_ms;
    }
    let good = scanner.offset();
    let torn = last.bytes.saturating_sub(good);
    let file = scanner.into_file();
    if torn > 0 {
        tracing::warn!(path = %last.path.display(), bytes = torn, "half-written end of the log cut off");
        file.truncate(good)?;
    }
    file.sync()?;
    last.bytes = good;
    let Segment { generation, salt, first, created_ms, .. } = *last;
    let header = SegmentHeader { generation, salt, first, created_ms };
    Ok((Active { file, header, bytes: good }, end, torn))
}

/// The furthest place that any cursor knows of.
fn furthest_cursor(disk: &dyn Disk, dir: &Path) -> io::Result<Position> {
    let mut furthest = Position::default();
    for name in disk.list(dir)? {
        if name.ends_with(".cursor")
            && let Some(state) = cursor::read(disk, &dir.join(name))?
        {
            furthest = furthest.max(state.delivered).max(state.attempted);
        }
    }
    Ok(furthest)
}
