//! From a file to its socket, in either way of reading.

use aya_ebpf::{
    cty::c_void,
    helpers::{bpf_skc_to_tcp_sock, generated::bpf_sock_from_file},
};

use crate::{
    mem::{Probed, Read, Typed},
    offsets::*,
    sock,
};

/// A way to read that also leads from a file to a TCP socket.
pub trait Sockets: Read {
    /// The `struct socket` behind a file, or null.
    ///
    /// # Safety
    ///
    /// `file` is a `struct file`.
    unsafe fn socket(file: *const u8) -> *const u8;

    /// The `struct tcp_sock` that a socket is, or null.
    ///
    /// # Safety
    ///
    /// `sk` is null or a `struct sock`.
    unsafe fn tcp_sock(sk: *const u8) -> *const u8;
}

impl Sockets for Typed {
    #[inline(always)]
    unsafe fn socket(file: *const u8) -> *const u8 {
        // SAFETY: the verifier checks the type.
        unsafe { bpf_sock_from_file(file.cast_mut().cast()).cast() }
    }

    #[inline(always)]
    unsafe fn tcp_sock(sk: *const u8) -> *const u8 {
        // SAFETY: as in `socket`.
        unsafe { bpf_skc_to_tcp_sock(sk.cast_mut().cast::<c_void>()).cast() }
    }
}

impl Sockets for Probed {
    #[inline(always)]
    unsafe fn socket(file: *const u8) -> *const u8 {
        const S_IFMT: u16 = 0o170000;
        const S_IFSOCK: u16 = 0o140000;
        // SAFETY: the private data of a file whose inode is a socket is a `struct socket` (`sock_alloc_file`,
        // net/socket.c).
        unsafe {
            let mode: u16 = Self::field(Self::pointer(file, &FILE_INODE), &INODE_MODE);
            if mode & S_IFMT == S_IFSOCK { Self::pointer(file, &FILE_PRIVATE) } else { core::ptr::null() }
        }
    }

    #[inline(always)]
    unsafe fn tcp_sock(sk: *const u8) -> *const u8 {
        // SAFETY: as the caller says. Null speaks nothing: it reads as zeros.
        if unsafe { sock::protocol::<Self>(sk) } == sock::IPPROTO_TCP { sk } else { core::ptr::null() }
    }
}
