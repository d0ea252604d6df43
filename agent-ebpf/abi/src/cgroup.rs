//! Cgroups: the birth and death of directories.

use core::mem::size_of;

use crate::record::{Header, Record};

/// A cgroup directory was made.
pub const KIND_CREATED: u16 = 0x30;
/// A cgroup directory was removed.
pub const KIND_REMOVED: u16 = 0x31;

/// `hierarchy`: the unified (v2) one.
pub const HIERARCHY_V2: u32 = 0;
/// `hierarchy`: the v1 one with the memory controller.
pub const HIERARCHY_V1: u32 = 1;

/// Bytes of [`CgroupRecord::path`]. Kubernetes' deepest paths are near 250 bytes; longer ones are found by rescanning.
pub const PATH_BYTES: usize = 384;

/// A cgroup came or went.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupRecord {
    /// Kind and size.
    pub header: Header,
    /// Inode of the directory.
    pub id: u64,
    /// One of `HIERARCHY_*`.
    pub hierarchy: u32,
    /// Bytes of the path with its NUL; [`PATH_BYTES`] when it may have been cut.
    pub path_len: u32,
    /// Path below the hierarchy's root, NUL-terminated.
    pub path: [u8; PATH_BYTES],
}

const _: () = assert!(size_of::<CgroupRecord>() == 24 + PATH_BYTES);

// SAFETY: repr(C), header first, the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Record for CgroupRecord {
    fn has_kind(kind: u16) -> bool {
        kind == KIND_CREATED || kind == KIND_REMOVED
    }
}
