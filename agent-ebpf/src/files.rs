//! One walk over all open files, of all processes in all network namespaces, for everything that is to be known of them:
//! TCP sockets ([`crate::tcp::iter`]), UDP sockets ([`crate::udp::sockets`]), and how many there are ([`count`]).
//!
//! * `file_iter` (`iter/task_file`): reads through pointers that the verifier knows by type. Needs
//!   `bpf_sock_from_file`, since Linux 5.11.
//! * `file_iter_probed`: the same by `bpf_probe_read_kernel`, which takes several times as long.
//!
//! The walk itself costs about as much as what is read of a file, so there is only one. It never runs on the traffic's
//! path.

mod count;
mod read;

use aya_ebpf::{Global, cty::c_void};
use sonde_abi::{
    files::{ROWS_TCP, ROWS_UDP},
    tcp::{AF_INET, AF_INET6},
};

pub use self::count::Run;
pub use self::read::Sockets;
use crate::{
    mem::{Probed, Typed},
    offsets::*,
    sock, tcp, udp,
};

/// What is to be shown: any of `sonde_abi::files::ROWS_*`, set by the loader.
#[unsafe(no_mangle)]
pub static FILE_ROWS: Global<u32> = Global::new(0);

/// `struct bpf_iter__task_file` of kernel/bpf/task_iter.c: eight bytes a member.
#[repr(C)]
struct TaskFileContext {
    meta: *const u8,
    task: *const u8,
    fd: u64,
    file: *const u8,
}

/// One open file of one task.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn file_iter(ctx: *mut c_void) -> i32 {
    // SAFETY: the kernel calls this program with that context, whose pointers the verifier knows by type.
    unsafe { visit::<Typed>(ctx) };
    0
}

/// One open file of one task.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn file_iter_probed(ctx: *mut c_void) -> i32 {
    // SAFETY: the kernel calls this program with that context.
    unsafe { visit::<Probed>(ctx) };
    0
}

/// Shows one file. When the kernel's buffer is full it takes back all that was written of this file and shows the same
/// one again, so nothing is remembered of a file before all its rows are written.
#[inline(always)]
unsafe fn visit<R: Sockets>(ctx: *mut c_void) {
    // SAFETY: as the callers say; task and file are null at the end of a walk.
    unsafe {
        let ctx = ctx.cast::<TaskFileContext>();
        let (meta, task, file) = ((*ctx).meta, (*ctx).task, (*ctx).file);
        let Some(run) = Run::of(meta) else { return };
        if task.is_null() || file.is_null() {
            return run.finish(meta);
        }
        if shares_files_with_leader::<R>(task) {
            return;
        }
        run.enter::<R>(task, R::field(task, &TASK_TGID));
        let socket = R::socket(file);
        if run.flush(meta) && (socket.is_null() || show_socket::<R>(meta, file, socket, &run)) {
            run.count(!socket.is_null());
        }
    }
}

/// Old kernels show the files of every thread, though all threads of a process usually share one table.
#[inline(always)]
unsafe fn shares_files_with_leader<R: Sockets>(task: *const u8) -> bool {
    // SAFETY: `task` is a `struct task_struct`.
    unsafe {
        if R::field::<u32>(task, &TASK_PID) == R::field::<u32>(task, &TASK_TGID) {
            return false;
        }
        let leader = R::pointer(task, &TASK_LEADER);
        R::pointer(task, &TASK_FILES) as u64 == R::pointer(leader, &TASK_FILES) as u64
    }
}

/// Writes the row of a socket that has one; whether there was room.
#[inline(always)]
unsafe fn show_socket<R: Sockets>(meta: *const u8, file: *const u8, socket: *const u8, run: &Run) -> bool {
    /// include/linux/net.h.
    const SOCK_STREAM: u16 = 1;
    const SOCK_DGRAM: u16 = 2;
    // SAFETY: `socket` is the `struct socket` behind `file`; its `sk` is null or a `struct sock`.
    unsafe {
        let sk = R::pointer(socket, &SOCKET_SK);
        if sk.is_null() {
            return true;
        }
        let family: u16 = R::field(sk, &SOCK_FAMILY);
        if family != AF_INET && family != AF_INET6 {
            return true;
        }
        let wanted = FILE_ROWS.load();
        match R::field::<u16>(socket, &SOCKET_TYPE) {
            SOCK_STREAM if wanted & ROWS_TCP != 0 => tcp::iter::show::<R>(meta, sk, run),
            SOCK_DGRAM if wanted & ROWS_UDP != 0 && sock::protocol::<R>(sk) == udp::IPPROTO_UDP => {
                udp::sockets::show::<R>(meta, file, sk, run)
            }
            _ => true,
        }
    }
}
