//! Block devices: I/O by owner where cgroup files do not count it.

use core::mem::size_of;

use crate::{process::OwnerKey, record::Plain};

/// Who submitted I/O to which disk: a key of `BIOS_A` and `BIOS_B`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BioKey {
    /// Who.
    pub owner: OwnerKey,
    /// Driver of the disk (`gendisk.major`).
    pub major: u32,
    /// The disk itself, never a partition (`gendisk.first_minor`).
    pub minor: u32,
}

const _: () = assert!(size_of::<BioKey>() == 48);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Plain for BioKey {}

/// How much.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BioCounts {
    /// Reads.
    pub reads: u64,
    /// Writes; one that only flushes the disk's cache has no bytes.
    pub writes: u64,
    /// Bytes of the reads.
    pub read_bytes: u64,
    /// Bytes of the writes.
    pub written_bytes: u64,
}

const _: () = assert!(size_of::<BioCounts>() == 32);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers.
unsafe impl Plain for BioCounts {}
