//! How the C library's allocator treats the large, short-lived blocks that reading the kernel's types takes.

/// Blocks from this size on get pages of their own, which go back to the system when they are freed: glibc's initial
/// value of `M_MMAP_THRESHOLD`.
const THRESHOLD_BYTES: libc::c_int = 128 * 1024;

/// Keeps large blocks out of the heap for good.
///
/// glibc raises the threshold to the size of the largest block freed so far. After reading 6 MB of types that would
/// leave all later tables in the heap, growing them by copies, and up to 12 MB of freed memory with the process.
pub fn return_large_blocks() {
    // SAFETY: mallopt takes two integers and has no other precondition; glibc serialises it with allocations.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD_BYTES) };
}
