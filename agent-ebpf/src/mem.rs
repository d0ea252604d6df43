//! Two ways to read kernel memory, behind one name.
//!
//! A pointer that the verifier knows by BTF type is read directly: one instruction, no helper. Any other pointer goes
//! through `bpf_probe_read_kernel`, which fails instead of faulting. Code that serves both kinds of programs is
//! generic over [`Read`].

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::offsets::Offset;

/// A way to read a field.
pub trait Read {
    /// Reads a `T` at a byte offset.
    ///
    /// # Safety
    ///
    /// `base` is a kernel object with a readable `T` at `offset`, and of the kind the implementation is for.
    unsafe fn at<T: Copy + Default>(base: *const u8, offset: usize) -> T;

    /// Reads a field of the offset table.
    ///
    /// # Safety
    ///
    /// As for [`Read::at`], with `base` of the structure that the table names.
    #[inline(always)]
    unsafe fn field<T: Copy + Default>(base: *const u8, field: &Offset) -> T {
        // SAFETY: passed on.
        unsafe { Self::at(base, field.get()) }
    }

    /// Reads a field that is a pointer. One that is read by type is known by type again.
    ///
    /// # Safety
    ///
    /// As for [`Read::field`].
    #[inline(always)]
    unsafe fn pointer(base: *const u8, field: &Offset) -> *const u8 {
        // SAFETY: passed on. A pointer is as wide as this, and `Default` does not cover it.
        unsafe { Self::field::<usize>(base, field) as *const u8 }
    }
}

/// For pointers that the verifier knows by BTF type.
pub struct Typed;

impl Read for Typed {
    #[inline(always)]
    unsafe fn at<T: Copy + Default>(base: *const u8, offset: usize) -> T {
        // SAFETY: the verifier refuses the program unless `base` is a BTF pointer with such a field; the load is
        // volatile so that LLVM neither merges it with a neighbour nor moves it.
        unsafe { base.add(offset).cast::<T>().read_volatile() }
    }
}

/// For any other kernel pointer. A failed read gives zeros: the helper clears the target itself
/// (`bpf_probe_read_kernel_common`, kernel/trace/bpf_trace.c), so the result needs no test here. That is more than taste:
/// a branch per read once made Linux 6.1's verifier walk 800,000 instructions for the socket iterator.
pub struct Probed;

impl Read for Probed {
    #[inline(always)]
    unsafe fn at<T: Copy + Default>(base: *const u8, offset: usize) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        let target = value.as_mut_ptr().cast();
        // SAFETY: the helper checks the source address itself and writes all of the value's bytes, zeros if it must.
        unsafe {
            bpf_probe_read_kernel(target, size_of::<T>() as u32, base.wrapping_add(offset).cast());
            value.assume_init()
        }
    }
}

/// Sixteen bytes that were read as two words: bytes by themselves would be copied one after the other.
#[inline(always)]
pub fn bytes(words: [u64; 2]) -> [u8; 16] {
    // SAFETY: same size, no padding, any bytes are valid.
    unsafe { core::mem::transmute(words) }
}

/// A field that is a pointer, of a structure that is not known by type.
///
/// # Safety
///
/// As for [`Read::field`].
#[inline(always)]
pub unsafe fn pointer(base: *const u8, field: &Offset) -> *const u8 {
    // SAFETY: passed on.
    unsafe { Probed::pointer(base, field) }
}

/// Adds to a number that other CPUs add to at the same time. The instruction that also fetches came with Linux 5.12; this
/// one is as old as the maps.
///
/// # Safety
///
/// `number` is an aligned value of a map.
#[inline(always)]
pub unsafe fn add(number: *mut u64, amount: u64) {
    // SAFETY: as the caller says.
    unsafe {
        core::arch::asm!("lock *(u64 *)({number} + 0) += {amount}", number = in(reg) number, amount = in(reg) amount);
    }
}
