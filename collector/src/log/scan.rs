//! Reading a segment record by record, past damage.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::disk::DiskFile;
use super::format::{RECORD_HEADER_LEN, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER_LEN, is_intact};

/// Least that is read at once.
const READ_AHEAD: usize = 256 << 10;

/// A record that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub header: RecordHeader,
    pub payload: Bytes,
    /// Damaged bytes before it.
    pub skipped: u64,
}

/// Walks through one segment.
#[derive(Debug)]
pub(super) struct Scanner {
    file: Box<dyn DiskFile>,
    salt: u32,
    offset: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Scanner {
    /// Begins at the first record.
    pub fn new(file: Box<dyn DiskFile>, salt: u32) -> Self {
        Self { file, salt, offset: SEGMENT_HEADER_LEN as u64, window: Vec::new(), window_at: 0 }
    }

    /// Where the next record is looked for: the end of the last one found.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the file back.
    pub fn into_file(self) -> Box<dyn DiskFile> {
        self.file
    }

    /// The next intact record that ends at or before byte `end` and whose sequence is in `wanted`. `None`: there is
    /// none, and the scanner stays where it was.
    pub fn next(&mut self, end: u64, wanted: Range<u64>) -> io::Result<Option<Found>> {
        let begin = self.offset;
        let mut at = begin;
        while at + RECORD_HEADER_LEN as u64 <= end {
            if let Some((header, payload)) = self.record_at(at, end, &wanted)? {
                self.offset = at + header.stored_len();
                return Ok(Some(Found { header, payload, skipped: at - begin }));
            }
            at = self.next_magic(at + 1, end)?;
        }
        Ok(None)
    }

    fn record_at(
        &mut self,
        at: u64,
        end: u64,
        wanted: &Range<u64>,
    ) -> io::Result<Option<(RecordHeader, Bytes)>> {
        let header = match self.bytes(at, RECORD_HEADER_LEN)? {
            Some(bytes) => RecordHeader::decode(bytes),
            None => None,
        };
        let Some(header) = header else { return Ok(None) };
        if !wanted.contains(&header.position.seq) || at + header.stored_len() > end {
            return Ok(None);
        }
        let salt = self.salt;
        let record = self.bytes(at, header.stored_len() as usize)?.filter(|record| is_intact(record, salt));
        Ok(record.map(|record| (header, Bytes::copy_from_slice(&record[RECORD_HEADER_LEN..]))))
    }

    /// The next place from `at` on where a record may begin, or `end`.
    fn next_magic(&mut self, mut at: u64, end: u64) -> io::Result<u64> {
        while at + (RECORD_MAGIC.len() as u64) <= end {
            let length = READ_AHEAD.min((end - at) as usize);
            let Some(bytes) = self.bytes(at, length)? else { return Ok(end) };
            if let Some(found) = bytes.windows(RECORD_MAGIC.len()).position(|four| four == RECORD_MAGIC) {
                return Ok(at + found as u64);
            }
            at += (length - (RECORD_MAGIC.len() - 1)) as u64;
        }
        Ok(end)
    }

    /// `length` bytes at `at`; `None` when the file is shorter.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let within = at >= self.window_at && at + length as u64 <= self.window_at + self.window.len() as u64;
        if !within {
            self.window.resize(length.max(READ_AHEAD), 0);
            let filled = self.file.read_at(&mut self.window, at)?;
            self.window.truncate(filled);
            self.window.shrink_to(READ_AHEAD.max(filled));
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        Ok(self.window.get(from..from + length))
    }
}
