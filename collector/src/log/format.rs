//! Bytes of a segment. All numbers are little-endian.
//!
//! ```text
//! segment header, 52 bytes                     record header, 44 bytes, then `length` bytes of payload
//!  0  8  magic "SONDELOG"                       0  4  magic "SNDR"
//!  8  2  version, 1                             4  4  CRC32C over bytes 8.. and the payload, seeded by the salt
//! 10  2  length of this header                  8  4  length of the payload
//! 12  4  salt                                  12  1  kind: 1 = remote write 1.0 request, protobuf in a snappy block
//! 16  8  generation                            13  3  zero
//! 24  8  sequence of the first record          16  8  sequence
//! 32  8  samples before the first record       24  8  samples in all records before this one
//! 40  8  created, ms since 1970                32  8  appended, ms since 1970
//! 48  4  CRC32C over bytes 0..48               40  4  samples in the payload
//! ```
//!
//! The salt is random and stands in the file's name too. It keeps bytes that a stranger sent as payload from being
//! taken for a record when the reader looks for the next one after damage.

/// Length of a segment's header.
pub const SEGMENT_HEADER_LEN: usize = 52;
/// Length of a record's header.
pub const RECORD_HEADER_LEN: usize = 44;
/// Begin of a record.
pub const RECORD_MAGIC: [u8; 4] = *b"SNDR";
/// No record is larger; a header that says so is damaged.
pub const MAX_PAYLOAD: u32 = 64 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"SONDELOG";
const VERSION: u16 = 1;

/// A place between two records: the sequence of the next, and how many samples all before it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Sequence of the record that follows.
    pub seq: u64,
    /// Samples in all records before.
    pub sample: u64,
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A remote write 1.0 request, protobuf in a snappy block.
    RemoteWrite1,
}

/// What identifies a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Order of creation.
    pub generation: u64,
    /// Seed of its checksums.
    pub salt: u32,
    /// Where it begins.
    pub first: Position,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// What is known of a record without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the payload.
    pub length: u32,
    /// What the payload is, as stored: kinds of newer versions are carried unread.
    pub kind: u8,
    /// Its place.
    pub position: Position,
    /// When it was appended, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Samples in the payload.
    pub samples: u32,
}

impl Kind {
    /// As stored.
    pub fn code(self) -> u8 {
        match self {
            Self::RemoteWrite1 => 1,
        }
    }

    /// From what is stored; `None` for a kind of a newer version.
    pub fn from_code(code: u8) -> Option<Self> {
        (code == 1).then_some(Self::RemoteWrite1)
    }
}

impl SegmentHeader {
    /// Name of the file.
    pub fn file_name(&self) -> String {
        format!("{:010}-{:020}-{:08x}.log", self.generation, self.first.seq, self.salt)
    }

    /// What a file's name tells: everything but the samples before and the time.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".log")?.split('-');
        let generation = parts.next()?.parse().ok()?;
        let seq = parts.next()?.parse().ok()?;
        let salt = u32::from_str_radix(parts.next()?, 16).ok()?;
        let header = Self { generation, salt, first: Position { seq, sample: 0 }, created_ms: 0 };
        (parts.next().is_none() && header.file_name() == name).then_some(header)
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut out = [0; SEGMENT_HEADER_LEN];
        out[0..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&(SEGMENT_HEADER_LEN as u16).to_le_bytes());
        out[12..16].copy_from_slice(&self.salt.to_le_bytes());
        out[16..24].copy_from_slice(&self.generation.to_le_bytes());
        out[24..32].copy_from_slice(&self.first.seq.to_le_bytes());
        out[32..40].copy_from_slice(&self.first.sample.to_le_bytes());
        out[40..48].copy_from_slice(&self.created_ms.to_le_bytes());
        let crc = crc32c::crc32c(&out[..48]);
        out[48..52].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// From bytes; `None` when they are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEADER_LEN] = bytes.get(..SEGMENT_HEADER_LEN)?.try_into().ok()?;
        let known = bytes[0..8] == SEGMENT_MAGIC && bytes[8..10] == VERSION.to_le_bytes();
        let intact = u32_at(bytes, 48) == crc32c::crc32c(&bytes[..48]);
        (known && intact).then(|| Self {
            salt: u32_at(bytes, 12),
            generation: u64_at(bytes, 16),
            first: Position { seq: u64_at(bytes, 24), sample: u64_at(bytes, 32) },
            created_ms: u64_at(bytes, 40) as i64,
        })
    }
}

impl RecordHeader {
    /// Place after this record.
    pub fn end(&self) -> Position {
        Position {
            seq: self.position.seq.saturating_add(1),
            sample: self.position.sample.saturating_add(u64::from(self.samples)),
        }
    }

    /// Bytes with header.
    pub fn stored_len(&self) -> u64 {
        RECORD_HEADER_LEN as u64 + u64::from(self.length)
    }

    /// Appends header and payload to `out`.
    pub fn encode(&self, payload: &[u8], salt: u32, out: &mut Vec<u8>) {
        debug_assert_eq!(payload.len(), self.length as usize);
        let begin = out.len();
        out.extend_from_slice(&RECORD_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&[self.kind, 0, 0, 0]);
        out.extend_from_slice(&self.position.seq.to_le_bytes());
        out.extend_from_slice(&self.position.sample.to_le_bytes());
        out.extend_from_slice(&self.timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.samples.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(salt, &out[begin + 8..]), payload);
        out[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(payload);
    }

    /// From bytes; `None` when they cannot be a header. The checksum is not looked at: see [`is_intact`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER_LEN] = bytes.get(..RECORD_HEADER_LEN)?.try_into().ok()?;
        let header = Self {
            length: u32_at(bytes, 8),
            kind: bytes[12],
            position: Position { seq: u64_at(bytes, 16), sample: u64_at(bytes, 24) },
            timestamp_ms: u64_at(bytes, 32) as i64,
            samples: u32_at(bytes, 40),
        };
        let plausible =
            bytes[0..4] == RECORD_MAGIC && bytes[13..16] == [0; 3] && header.length <= MAX_PAYLOAD;
        plausible.then_some(header)
    }
}

/// Whether the checksum of a whole record, header and payload, is right.
pub fn is_intact(record: &[u8], salt: u32) -> bool {
    record.len() >= RECORD_HEADER_LEN && u32_at(record, 4) == crc32c::crc32c_append(salt, &record[8..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were cut"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment() -> SegmentHeader {
        SegmentHeader {
            generation: 7,
            salt: 0xdead_beef,
            first: Position { seq: 41, sample: 4100 },
            created_ms: -5,
        }
    }

    #[test]
    fn a_segment_header_survives_and_every_flipped_bit_is_noticed() {
        let bytes = segment().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(segment()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_name_tells_generation_sequence_and_salt() {
        let name = segment().file_name();
        assert_eq!(name, "0000000007-00000000000000000041-deadbeef.log");
        let read = SegmentHeader::from_file_name(&name).unwrap();
        assert_eq!((read.generation, read.first.seq, read.salt), (7, 41, 0xdead_beef));
        for bad in ["", "lock", "7-41-deadbeef.log", "0000000007-00000000000000000041.log", "a-b-c.log"] {
            assert_eq!(SegmentHeader::from_file_name(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_record_survives_and_damage_is_noticed(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            seq in any::<u64>(), sample in any::<u64>(), timestamp_ms in any::<i64>(), samples in any::<u32>(),
            salt in any::<u32>(), flip in any::<prop::sample::Index>(),
        ) {
            let header = RecordHeader {
                length: payload.len() as u32, kind: 1, position: Position { seq, sample }, timestamp_ms, samples,
            };
            let mut bytes = Vec::new();
            header.encode(&payload, salt, &mut bytes);
            prop_assert_eq!(RecordHeader::decode(&bytes), Some(header));
            prop_assert!(is_intact(&bytes, salt));
            prop_assert!(!is_intact(&bytes, salt ^ 1));
            // The magic is checked by itself, not by the checksum.
            let bit = 32 + flip.index(bytes.len() * 8 - 32);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_intact(&bytes, salt));
        }
    }
}
