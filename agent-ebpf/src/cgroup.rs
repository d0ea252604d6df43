//! Cgroups: `tp_btf/cgroup_mkdir` and `tp_btf/cgroup_rmdir` tell path and id of a directory the moment it comes and
//! goes, so that a container that lives shorter than a scrape still has a name.

use aya_ebpf::{
    helpers::bpf_probe_read_kernel_str_bytes, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use sonde_abi::{
    Header,
    cgroup::{CgroupRecord, HIERARCHY_V1, HIERARCHY_V2, KIND_CREATED, KIND_REMOVED},
    codes::Loss,
};

use crate::{
    loss,
    maps::{EVENTS, wakeup_flags},
    mem::{Probed, Read, pointer},
    offsets::*,
    owner::kernfs_id,
};

/// `trace_cgroup_mkdir(struct cgroup *cgrp, const char *path)`, include/trace/events/cgroup.h.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    emit(ctx.arg(0), ctx.arg(1), KIND_CREATED);
    0
}

/// `trace_cgroup_rmdir(struct cgroup *cgrp, const char *path)`.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    emit(ctx.arg(0), ctx.arg(1), KIND_REMOVED);
    0
}

#[inline(always)]
fn emit(cgroup: *const u8, path: *const u8, kind: u16) {
    // SAFETY: the tracepoint's first argument is a `struct cgroup`.
    let Some(hierarchy) = (unsafe { hierarchy(cgroup) }) else { return };
    let Some(mut entry) = EVENTS.reserve_untyped::<CgroupRecord>(0) else {
        loss::count(Loss::CgroupRingFull);
        return;
    };
    // SAFETY: zero bytes are a valid record; the path is a kernel string, read with a bound.
    unsafe {
        entry.as_mut_ptr().write_bytes(0, 1);
        let record = entry.assume_init_mut();
        record.header = Header::of::<CgroupRecord>(kind);
        record.id = kernfs_id(cgroup);
        record.hierarchy = hierarchy;
        record.path_len =
            bpf_probe_read_kernel_str_bytes(path, &mut record.path).map_or(0, |bytes| bytes.len() as u32 + 1);
    }
    entry.submit(wakeup_flags(&EVENTS));
}

/// The unified hierarchy has id 0 (`cgroup_init` in kernel/cgroup/cgroup.c); of the v1 ones only memory's matters.
#[inline(always)]
unsafe fn hierarchy(cgroup: *const u8) -> Option<u32> {
    // SAFETY: as the caller says; `subsys_mask` is a u16 or wider with the low bits first.
    unsafe {
        let root = pointer(cgroup, &CGROUP_ROOT);
        if Probed::field::<i32>(root, &CGROUP_ROOT_ID) == 0 {
            return Some(HIERARCHY_V2);
        }
        let controllers: u16 = Probed::field(root, &CGROUP_ROOT_MASK);
        let has_memory = MEMORY_SUBSYS.exists() && controllers & (1 << (MEMORY_SUBSYS.get() & 15)) != 0;
        has_memory.then_some(HIERARCHY_V1)
    }
}
