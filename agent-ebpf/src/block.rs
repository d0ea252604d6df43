//! Block devices.
//!
//! * `disk_latency` ([`latency`]): how long requests take. Optional.
//! * `bio_queue` (`tp_btf/block_bio_queue`) counts what is submitted, by owner and disk, where cgroup files
//!   do not. The unit is theirs, one bio: several of them may be merged into one request of the device.

use aya_ebpf::{helpers::bpf_get_current_task, macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::{
    block::BioKey,
    codes::Loss,
    process::{FLAG_KERNEL, OwnerKey, pass},
};

use crate::{
    loss,
    maps::{BIOS_A, BIOS_B, entry_of, pass_mark},
    mem::{Probed, Read, add, pointer},
    offsets::*,
    owner::{Owner, kernfs_id},
    process,
};

mod latency;

/// `trace_block_bio_queue(struct bio *bio)`, include/trace/events/block.h.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn bio_queue(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct bio`; the loader has asked the kernel's types.
    unsafe { count(ctx.arg(0)) };
    0
}

/// `trace_block_bio_queue(struct request_queue *q, struct bio *bio)`, as it was before Linux 5.11.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn bio_queue_of(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the second argument is a `struct bio`; the loader has asked the kernel's types.
    unsafe { count(ctx.arg(1)) };
    0
}

#[inline(always)]
unsafe fn count(bio: *const u8) {
    // `enum req_op`, include/linux/blk_types.h.
    const OPERATION: u32 = 0xff;
    const READ: u32 = 0;
    const WRITE: u32 = 1;
    const DISCARD: u32 = 3;
    const SECURE_ERASE: u32 = 5;
    let mark = pass_mark();
    // SAFETY: the caller vouches for the pointer, the table for the offsets.
    unsafe {
        let operation = Probed::field::<u32>(bio, &BIO_OPF) & OPERATION;
        let bytes = u64::from(Probed::field::<u32>(bio, &BIO_SIZE));
        // As the kernel's `op_is_write`: numbers of the others change from one kernel to the next. What manages zones has no
        // bytes.
        let is_write = operation == WRITE
            || operation & 1 == 1 && bytes > 0 && !matches!(operation, DISCARD | SECURE_ERASE);
        if mark == 0 || !(operation == READ || is_write) {
            return;
        }
        let disk = disk(bio);
        let key = BioKey {
            owner: owner(bio, mark),
            major: Probed::field(disk, &DISK_MAJOR),
            minor: Probed::field(disk, &DISK_MINOR),
        };
        let Some(entry) = entry_of([&BIOS_A, &BIOS_B], mark, &key) else {
            return loss::count(Loss::BioMapFull);
        };
        if is_write {
            add(&raw mut (*entry).writes, 1);
            add(&raw mut (*entry).written_bytes, bytes);
        } else {
            add(&raw mut (*entry).reads, 1);
            add(&raw mut (*entry).read_bytes, bytes);
        }
    }
}

/// The `struct gendisk` that a bio is for.
#[inline(always)]
unsafe fn disk(bio: *const u8) -> *const u8 {
    // SAFETY: `bio` is a `struct bio`; since Linux 5.12 it has the device in the disk's place.
    unsafe {
        if BIO_BDEV.exists() {
            pointer(pointer(bio, &BIO_BDEV), &BDEV_DISK)
        } else if BIO_DISK.exists() {
            pointer(bio, &BIO_DISK)
        } else {
            core::ptr::null()
        }
    }
}

/// Who is behind a bio: the process that submits it, or, where a thread of the kernel writes back what processes have
/// left in the page cache, the memory group that its pages are charged to.
#[inline(always)]
unsafe fn owner(bio: *const u8, mark: u64) -> OwnerKey {
    // SAFETY: the current task is alive while the program runs; `bio` is a `struct bio`.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        if process::flags(task) & FLAG_KERNEL != 0 {
            return charged(bio);
        }
        let owner = Owner::current();
        let leader_started: u64 = Probed::field(pointer(task, &TASK_LEADER), &TASK_START);
        let is_known = pass::may_have_listed(mark, leader_started);
        OwnerKey {
            cgroup_v2: owner.cgroup_v2,
            cgroup_v1: owner.cgroup_v1,
            comm: owner.comm,
            tgid: if is_known { owner.tgid } else { 0 },
            flags: 0,
        }
    }
}

/// The memory group of a bio's first page, on whichever hierarchy that controller is; of nobody's page the kernel's own.
#[inline(always)]
unsafe fn charged(bio: *const u8) -> OwnerKey {
    // SAFETY: `bio` is a `struct bio`; its vector is null or begins with a `struct bio_vec`.
    let id = unsafe {
        kernfs_id(pointer(memory_group(pointer(pointer(bio, &BIO_VEC), &BVEC_PAGE)), &MEMCG_CGROUP))
    };
    let is_v1 = READ_CGROUP_V1.get() != 0;
    OwnerKey {
        cgroup_v2: if is_v1 { 0 } else { id },
        cgroup_v1: if is_v1 { id } else { 0 },
        comm: [0; 16],
        tgid: 0,
        flags: FLAG_KERNEL,
    }
}

/// The `struct mem_cgroup` that a page is charged to, or null.
#[inline(always)]
unsafe fn memory_group(page: *const u8) -> *const u8 {
    // `enum page_memcg_data_flags`: with one of them set it is no pointer to a group.
    const FLAGS: usize = 3;
    if !MEMCG_CGROUP.exists() || !PAGE_HEAD.exists() {
        return core::ptr::null();
    }
    // SAFETY: `page` is null or a `struct page`; one that is not the first of several has the first one's address plus 1.
    unsafe {
        let head = Probed::field::<usize>(page, &PAGE_HEAD);
        let page = if head & 1 == 1 { (head - 1) as *const u8 } else { page };
        if PAGE_MEMCG_DATA.exists() {
            let data: usize = Probed::field(page, &PAGE_MEMCG_DATA);
            if data & FLAGS == 0 { data as *const u8 } else { core::ptr::null() }
        } else if PAGE_MEMCG.exists() {
            pointer(page, &PAGE_MEMCG)
        } else {
            core::ptr::null()
        }
    }
}
