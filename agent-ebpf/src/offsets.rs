//! The offset table of `sonde-abi` as globals of read-only data, set by the loader before the programs are verified.

use aya_ebpf::Global;
use sonde_abi::{for_each_offset, offsets::ABSENT};

/// An offset or enumerator of the running kernel.
pub struct Offset(Global<u32>);

impl Offset {
    const fn absent() -> Self {
        Self(Global::new(ABSENT))
    }

    /// The number the loader put in; the verifier knows it as a constant.
    #[inline(always)]
    pub fn get(&self) -> usize {
        self.0.load() as usize
    }

    /// Whether the running kernel has it. A branch on this costs nothing: the verifier removes the dead side.
    #[inline(always)]
    pub fn exists(&self) -> bool {
        self.0.load() != ABSENT
    }
}

macro_rules! globals {
    ($($global:ident = $container:literal $path:literal $want:ident,)*) => {
        $(#[unsafe(no_mangle)] pub static $global: Offset = Offset::absent();)*
    };
}

for_each_offset!(globals);

/// 1 where a v1 memory hierarchy is mounted, so that the walk to its id is worth its 80 ns.
#[unsafe(no_mangle)]
pub static READ_CGROUP_V1: Offset = Offset(Global::new(0));
