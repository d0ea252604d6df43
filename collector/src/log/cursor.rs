//! Where a consumer is, durably: two slots in one file, written in turn, the intact one with the higher number counts.
//!
//! ```text
//! slot, 52 bytes, at offsets 0 and 512 (two sectors: a torn write can only hurt one)
//!  0  4  magic "SNDC"        8  8  number of the write       32  8  attempted: sequence
//!  4  2  version, 1         16  8  delivered: sequence       40  8  attempted: samples before
//!  6  2  zero               24  8  delivered: samples before 48  4  CRC32C over bytes 0..48
//! ```
//!
//! `attempted` is written before anything up to there is sent. What lies between the two when a consumer is opened
//! may have arrived already: its refusal as a duplicate is no loss.

use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile};
use super::format::Position;

const SLOT_LEN: usize = 52;
const SLOT_AT: [u64; 2] = [0, 512];
const MAGIC: [u8; 4] = *b"SNDC";
const VERSION: u16 = 1;

/// What a cursor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CursorState {
    /// Everything before was delivered, or dropped and counted.
    pub delivered: Position,
    /// Nothing from here on was sent yet.
    pub attempted: Position,
}

/// What was found when a cursor was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The consumer is new.
    Nothing,
    /// Both slots are damaged.
    Damaged,
    /// What the newest intact slot says.
    Intact(CursorState),
}

/// The file of a cursor.
#[derive(Debug)]
pub(super) struct Cursor {
    file: Box<dyn DiskFile>,
    number: u64,
}

impl Cursor {
    /// Opens the cursor, or makes it, and returns what it says.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<(Self, Found)> {
        match disk.open(path) {
            Ok(file) => {
                let found = read_slots(&*file)?;
                let number = found.map_or(0, |(number, _)| number);
                Ok((Self { file, number }, found.map_or(Found::Damaged, |(_, state)| Found::Intact(state))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(path)?;
                if let Some(dir) = path.parent() {
                    disk.sync_dir(dir)?;
                }
                Ok((Self { file, number: 0 }, Found::Nothing))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the state and returns once it is durable.
    pub fn write(&mut self, state: CursorState) -> io::Result<()> {
        // Until it succeeds the same slot is written again: the other one holds the last good state.
        let number = self.number + 1;
        let at = SLOT_AT[(number % 2) as usize];
        self.file.write_at(&encode(number, state), at)?;
        self.file.sync()?;
        self.number = number;
        Ok(())
    }
}

/// What the cursor in a file says, without opening it for writing.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<CursorState>> {
    Ok(read_slots(&*disk.open(path)?)?.map(|(_, state)| state))
}

fn read_slots(file: &dyn DiskFile) -> io::Result<Option<(u64, CursorState)>> {
    let mut best = None;
    for at in SLOT_AT {
        let mut bytes = [0; SLOT_LEN];
        if file.read_at(&mut bytes, at)? == SLOT_LEN
            && let Some(found) = decode(&bytes)
            && best.is_none_or(|(number, _)| found.0 > number)
        {
            best = Some(found);
        }
    }
    Ok(best)
}

fn encode(number: u64, state: CursorState) -> [u8; SLOT_LEN] {
    let mut out = [0; SLOT_LEN];
    out[0..4].copy_from_slice(&MAGIC);
    out[4..6].copy_from_slice(&VERSION.to_le_bytes());
    let numbers =
        [number, state.delivered.seq, state.delivered.sample, state.attempted.seq, state.attempted.sample];
    for (index, value) in numbers.into_iter().enumerate() {
        out[8 + index * 8..16 + index * 8].copy_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out[..48]);
    out[48..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode(bytes: &[u8; SLOT_LEN]) -> Option<(u64, CursorState)> {
    let known = bytes[0..4] == MAGIC && bytes[4..6] == VERSION.to_le_bytes();
    let intact = bytes[48..] == crc32c::crc32c(&bytes[..48]).to_le_bytes();
    let number = |index: usize| {
        u64::from_le_bytes(bytes[8 + index * 8..16 + index * 8].try_into().expect("eight bytes"))
    };
    let place = |index| Position { seq: number(index), sample: number(index + 1) };
    (known && intact).then(|| (number(0), CursorState { delivered: place(1), attempted: place(3) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sim::SimDisk;

    fn state(seq: u64) -> CursorState {
        CursorState {
            delivered: Position { seq, sample: seq * 10 },
            attempted: Position { seq: seq + 1, sample: seq * 10 + 10 },
        }
    }

    #[test]
    fn the_last_write_counts_and_a_damaged_slot_leaves_the_one_before() {
        let disk = SimDisk::default();
        let path = Path::new("/c.cursor");
        let (mut cursor, found) = Cursor::open(&disk, path).unwrap();
        assert_eq!(found, Found::Nothing);
        for seq in 1..=3 {
            cursor.write(state(seq)).unwrap();
            assert_eq!(read(&disk, path).unwrap(), Some(state(seq)));
        }
        disk.flip(path, SLOT_AT[1] + 20);
        assert_eq!(read(&disk, path).unwrap(), Some(state(2)));
        disk.flip(path, SLOT_AT[0] + 20);
        assert_eq!(Cursor::open(&disk, path).unwrap().1, Found::Damaged);
    }

    #[test]
    fn a_crash_leaves_one_of_the_last_two_writes() {
        for seed in 0..200 {
            let disk = SimDisk::default();
            let path = Path::new("/c.cursor");
            let (mut cursor, _) = Cursor::open(&disk, path).unwrap();
            cursor.write(state(1)).unwrap();
            disk.fail_syncs(1);
            cursor.write(state(2)).unwrap_err();
            disk.crash(seed);
            let found = read(&disk, path).unwrap();
            assert!(found == Some(state(1)) || found == Some(state(2)), "{found:?} seed {seed}");
        }
    }
}
