//! Walking open files: what the iterators over `iter/task_file` share, and the one that counts them ([`count`]).

mod count;

use sonde_abi::tcp::{AF_INET, AF_INET6};

use crate::{
    mem::{Probed, Read, pointer},
    offsets::*,
};

/// `struct bpf_iter__task_file` of kernel/bpf/task_iter.c: eight bytes a member.
#[repr(C)]
pub struct TaskFileContext {
    pub meta: *const u8,
    pub task: *const u8,
    pub fd: u64,
    pub file: *const u8,
}

/// The internet socket of a type behind a file, whatever protocol it speaks. Walks `file → inode` and
/// `file → socket → sock` by hand: `bpf_sock_from_file` came with 5.11, this is right from 5.8 on.
///
/// # Safety
///
/// `file` is a `struct file`.
#[inline(always)]
pub unsafe fn socket_of(file: *const u8, socket_type: u16) -> Option<*const u8> {
    // SAFETY: the private data of a file whose inode is a socket is a `struct socket` (`sock_alloc_file` in
    // net/socket.c).
    unsafe {
        if !is_socket(file) {
            return None;
        }
        let socket = pointer(file, &FILE_PRIVATE);
        let sk = pointer(socket, &SOCKET_SK);
        if sk.is_null() || Probed::field::<u16>(socket, &SOCKET_TYPE) != socket_type {
            return None;
        }
        let family: u16 = Probed::field(sk, &SOCK_FAMILY);
        (family == AF_INET || family == AF_INET6).then_some(sk)
    }
}

/// Whether a file is a socket, of any kind.
///
/// # Safety
///
/// `file` is a `struct file`.
#[inline(always)]
pub unsafe fn is_socket(file: *const u8) -> bool {
    const S_IFMT: u16 = 0o170000;
    const S_IFSOCK: u16 = 0o140000;
    // SAFETY: as the caller says.
    unsafe { Probed::field::<u16>(pointer(file, &FILE_INODE), &INODE_MODE) & S_IFMT == S_IFSOCK }
}

/// Old kernels show the files of every thread, though all threads of a process usually share one table.
///
/// # Safety
///
/// `task` is a `struct task_struct`.
#[inline(always)]
pub unsafe fn shares_files_with_leader(task: *const u8) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let leader = pointer(task, &TASK_LEADER);
        let is_leader = Probed::field::<u32>(task, &TASK_PID) == Probed::field::<u32>(task, &TASK_TGID);
        !is_leader && pointer(task, &TASK_FILES) as u64 == pointer(leader, &TASK_FILES) as u64
    }
}
