//! Writing iterator rows.

use aya_ebpf::helpers::bpf_seq_write;
use sonde_abi::Record;

/// Writes one row. When the kernel's buffer is full it shows the same object again, so a failed write loses nothing. Returns
/// whether it was written.
///
/// # Safety
///
/// `meta` is the iterator context's `struct bpf_iter_meta`.
#[inline(always)]
pub unsafe fn write<T: Record>(meta: *const u8, row: &T) -> bool {
    // SAFETY: `bpf_iter_meta` begins with its `seq_file` (include/linux/bpf.h); the row is plain data.
    unsafe {
        let seq = meta.cast::<*mut aya_ebpf::bindings::seq_file>().read_volatile();
        bpf_seq_write(seq, (&raw const *row).cast_mut().cast(), size_of::<T>() as u32) == 0
    }
}
