//! The walk over open files: what it shows, and how many files a process has.

use core::mem::size_of;

use crate::record::{Header, Record};

/// What the walk shows, as bits of the global `FILE_ROWS`: open TCP sockets, as `TcpRecord`.
pub const ROWS_TCP: u32 = 1;
/// Open UDP sockets, as `UdpRecord`.
pub const ROWS_UDP: u32 = 2;
/// How many files each process has, as [`FilesRecord`].
pub const ROWS_COUNT: u32 = 4;

/// Open files of one process, or some of them: rows of the same process add up.
pub const KIND_FILES: u16 = 0x28;

/// Files of one descriptor table, counted one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesRecord {
    /// Kind and size.
    pub header: Header,
    /// Cgroup id on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Cgroup id on the v1 memory hierarchy; 0 when unknown.
    pub cgroup_v1: u64,
    /// Soft limit of open files (`RLIMIT_NOFILE`); 0 when unknown.
    pub limit: u64,
    /// Thread group leader's name, NUL-padded.
    pub comm: [u8; 16],
    /// Open files, sockets included.
    pub files: u32,
    /// Sockets among them.
    pub sockets: u32,
    /// Thread group.
    pub tgid: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<FilesRecord>() == 64);

// SAFETY: repr(C), header first, the fields add up to the asserted size without gaps, integers and arrays of them.
unsafe impl Record for FilesRecord {
    fn has_kind(kind: u16) -> bool {
        kind == KIND_FILES
    }
}

/// What the walk remembers from one file to the next.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FilesRun {
    /// The walk (`bpf_iter_meta.session_id`) that this is of; 0 when it is over.
    pub session: u64,
    /// When it began, nanoseconds of `bpf_ktime_get_ns`.
    pub began_ns: u64,
    /// A number for it, which its sockets are marked with: from 1 to 255, and 1 again.
    pub pass: u64,
    /// Address of the `struct css_set` by which the cgroups of `current` are known.
    pub css_set: u64,
    /// The process whose files are being shown.
    pub current: FilesRecord,
    /// The one before it, until the kernel has surely taken its row; without files when it has.
    pub done: FilesRecord,
}

const _: () = assert!(size_of::<FilesRun>() == 160);
