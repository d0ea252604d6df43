//! Looking into a data directory without changing it, also while it is in use.

use std::io;
use std::path::{Path, PathBuf};

use super::cursor::{self, CursorState};
use super::disk::{Disk, DiskFile};
use super::format::{SEGMENT_HEADER_LEN, SegmentHeader};
use super::recovery::{CURSORS, SEGMENTS, named_segments};
use super::scan::Scanner;

/// One segment as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Whether its header is intact.
    pub header_intact: bool,
    /// Sequence it begins with.
    pub first_seq: u64,
    /// Intact records.
    pub records: u64,
    /// Samples in them.
    pub samples: u64,
    /// Bytes that belong to no intact record.
    pub damaged_bytes: u64,
    /// When the first and the last record were appended, milliseconds since 1970.
    pub time_range_ms: Option<(i64, i64)>,
}

/// A data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Oldest first.
    pub segments: Vec<SegmentReport>,
    /// Cursors by name; `None` when both slots of a file are damaged.
    pub cursors: Vec<(String, Option<CursorState>)>,
}

/// Reads all segments and cursors of a data directory.
pub fn inspect(disk: &dyn Disk, dir: &Path) -> io::Result<Inspection> {
    let named = named_segments(disk, &dir.join(SEGMENTS))?;
    let mut inspection = Inspection::default();
    for (index, (header, path)) in named.iter().enumerate() {
        let next = named.get(index + 1).map_or(u64::MAX, |(next, _)| next.first.seq);
        inspection.segments.push(report(disk.open(path)?, header, path, next)?);
    }
    let cursor_dir = dir.join(CURSORS);
    let mut names = disk.list(&cursor_dir)?;
    names.sort();
    for name in names {
        if let Some(consumer) = name.strip_suffix(".cursor") {
            inspection.cursors.push((consumer.into(), cursor::read(disk, &cursor_dir.join(&name))?));
        }
    }
    Ok(inspection)
}

fn report(
    file: Box<dyn DiskFile>,
    named: &SegmentHeader,
    path: &Path,
    next: u64,
) -> io::Result<SegmentReport> {
    let bytes = file.size()?;
    let mut head = [0; SEGMENT_HEADER_LEN];
    let filled = file.read_at(&mut head, 0)?;
    let mut report = SegmentReport {
        path: path.into(),
        bytes,
        header_intact: SegmentHeader::decode(&head[..filled]).is_some(),
        first_seq: named.first.seq,
        records: 0,
        samples: 0,
        damaged_bytes: 0,
        time_range_ms: None,
    };
    let mut scanner = Scanner::new(file, named.salt);
    let mut seq = named.first.seq;
    while let Some(found) = scanner.next(bytes, seq..next)? {
        let time = found.header.timestamp_ms;
        seq = found.header.end().seq;
        report.records += 1;
        report.samples += u64::from(found.header.samples);
        report.damaged_bytes += found.skipped;
        report.time_range_ms = Some(report.time_range_ms.map_or((time, time), |(first, _)| (first, time)));
    }
    report.damaged_bytes += bytes.saturating_sub(scanner.offset());
    Ok(report)
}
