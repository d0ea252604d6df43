//! The address that the program gave to connect(2).
//!
//! Programs at `cgroup/connect4` and `connect6` (Cilium's socket load balancing, for one) replace a service's address
//! by a backend's in the kernel's copy, before the socket begins to connect. The original still is where the program
//! has it. The transition to SYN_SENT happens inside connect(2), so the saved registers lead there.

use aya_ebpf::{
    cty::c_void,
    helpers::{
        bpf_get_current_task,
        generated::{bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs},
    },
};
use sonde_abi::tcp::{AF_INET, AF_INET6, Conn, FLAG_ASKED};

use crate::{
    mem::{Probed, Read, Typed, bytes, pointer},
    offsets::*,
    sock,
};

/// Number of connect(2) in arch/x86/entry/syscalls/syscall_64.tbl. Calls of 32-bit programs have other numbers, and
/// so do io_uring's: for them the address asked for stays unknown.
const CONNECT_X86_64: u64 = 42;
/// Number of connect(2) in include/uapi/asm-generic/unistd.h, which arm64 uses.
const CONNECT_ARM64: i32 = 203;
/// `THREAD_SIZE` of x86-64. Only used before Linux 5.15, whose arm64 kernels cannot run this program at all.
const THREAD_SIZE: usize = 16 << 10;

/// `struct sockaddr_in` is the first eight bytes, `struct sockaddr_in6` all of it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct UserAddress {
    family: u16,
    port: [u8; 2],
    v4: [u8; 4],
    v6: [u64; 2],
}

/// Notes the address asked for, when it is another one than that of the socket.
///
/// # Safety
///
/// `sk` is a `struct sock` known by BTF type, which begins to connect in the context of its task.
#[inline(always)]
pub unsafe fn note(sk: *const u8, conn: &mut Conn) {
    // SAFETY: the caller vouches for the socket; user memory is read by the helper, which may fail and leaves zeros.
    unsafe {
        let Some(user) = argument() else { return };
        let family: u16 = Typed::field(sk, &SOCK_FAMILY);
        let mut asked = UserAddress::default();
        let target = (&raw mut asked).cast::<c_void>();
        let (address, connected) = if family == AF_INET {
            bpf_probe_read_user(target, 8, user);
            let connected = sock::v4(Typed::field(sk, &SOCK_DADDR));
            (sock::v4(u32::from_ne_bytes(asked.v4)), connected)
        } else if family == AF_INET6 && SOCK_V6_DADDR.exists() {
            bpf_probe_read_user(target, size_of::<UserAddress>() as u32, user);
            (bytes(asked.v6), sock::v6::<Typed>(sk, &SOCK_V6_DADDR))
        } else {
            return;
        };
        let port = u16::from_be_bytes(asked.port);
        let same =
            halves(address) == halves(connected) && port == u16::from_be(Typed::field(sk, &SOCK_DPORT));
        if asked.family == family && !same {
            conn.asked_addr = address;
            conn.asked_port = port;
            conn.flags |= FLAG_ASKED;
        }
    }
}

/// Two numbers compare in two instructions; sixteen bytes would call `memcmp`.
#[inline(always)]
fn halves(address: [u8; 16]) -> (u64, u64) {
    let whole = u128::from_ne_bytes(address);
    (whole as u64, (whole >> 64) as u64)
}

/// The second argument of connect(2), when that is what the current task is in.
#[inline(always)]
unsafe fn argument() -> Option<*const c_void> {
    // SAFETY: `registers` is null or a `struct pt_regs`; a failed read gives zero, which is not connect(2).
    unsafe {
        let registers = registers();
        if REGS_ORIG_AX.exists() && REGS_SI.exists() {
            let call: u64 = Probed::field(registers, &REGS_ORIG_AX);
            (call == CONNECT_X86_64).then(|| pointer(registers, &REGS_SI).cast())
        } else if REGS_SYSCALLNO.exists() && REGS_REGS.exists() {
            let call: i32 = Probed::field(registers, &REGS_SYSCALLNO);
            let argument = || Probed::at::<usize>(registers, REGS_REGS.get() + size_of::<usize>());
            (call == CONNECT_ARM64).then(|| argument() as *const c_void)
        } else {
            None
        }
    }
}

/// The registers that the current task entered the kernel with.
#[inline(always)]
unsafe fn registers() -> *const u8 {
    // SAFETY: the helpers take and give what they say; the branch not taken is not even verified.
    unsafe {
        if TASK_PT_REGS_FUNC.exists() {
            bpf_task_pt_regs(bpf_get_current_task_btf()) as *const u8
        } else if TASK_STACK.exists() && REGS_SIZE.exists() {
            // `task_pt_regs` of arch/x86/include/asm/processor.h, before FRED came with 6.9.
            let stack = pointer(bpf_get_current_task() as *const u8, &TASK_STACK);
            stack.wrapping_add(THREAD_SIZE).wrapping_sub(REGS_SIZE.get())
        } else {
            core::ptr::null()
        }
    }
}
