//! `disk_latency` (`tp_btf/block_io_done`) and `disk_latency_rq` (`tp_btf/block_rq_complete`): how long requests take, from
//! the moment the kernel makes them, as in `/proc/diskstats`. The request itself knows when that was.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::{
    codes::Loss,
    latency::{DISK_FIRST, DiskLatencyKey},
};

use crate::{
    loss,
    maps::{DISK_LATENCY, observe},
    mem::{Probed, Read, pointer},
    offsets::*,
};

/// `trace_block_io_done(struct request *rq)`, include/trace/events/block.h, since Linux 6.5: once for every request that
/// `/proc/diskstats` counts.
#[btf_tracepoint(function = "block_io_done")]
pub fn disk_latency(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is a `struct request`; the loader has asked the kernel's types.
    unsafe { done(ctx.arg(0)) };
    0
}

/// `trace_block_rq_complete(struct request *rq, blk_status_t error, unsigned int nr_bytes)`: once for every part of a
/// request that the device completes.
#[btf_tracepoint(function = "block_rq_complete")]
pub fn disk_latency_rq(ctx: BtfTracePointContext) -> i32 {
    let (request, completed): (*const u8, u32) = (ctx.arg(0), ctx.arg(2));
    // SAFETY: the first argument is a `struct request`; the loader has asked the kernel's types.
    unsafe {
        if completed >= Probed::field::<u32>(request, &REQUEST_LEFT) {
            done(request);
        }
    }
    0
}

#[inline(always)]
unsafe fn done(request: *const u8) {
    const OPERATION: u32 = 0xff;
    const WRITE: u32 = 1;
    // SAFETY: `request` is a `struct request`.
    unsafe {
        let operation = Probed::field::<u32>(request, &REQUEST_FLAGS) & OPERATION;
        // 0 when nobody asked the kernel to note it: the disk's statistics are off.
        let started: u64 = Probed::field(request, &REQUEST_START);
        if operation > WRITE || started == 0 {
            return;
        }
        let disk = disk(request);
        let key = DiskLatencyKey {
            major: Probed::field(disk, &DISK_MAJOR),
            minor: Probed::field(disk, &DISK_MINOR),
            is_write: operation,
            _pad: 0,
        };
        let taken = bpf_ktime_get_ns().saturating_sub(started);
        if !observe(&DISK_LATENCY, &key, taken, DISK_FIRST) {
            loss::count(Loss::DiskLatencyMapFull);
        }
    }
}

/// The `struct gendisk` of a request; since Linux 5.17 only its queue knows it.
#[inline(always)]
unsafe fn disk(request: *const u8) -> *const u8 {
    // SAFETY: `request` is a `struct request`.
    unsafe {
        if REQUEST_DISK.exists() {
            pointer(request, &REQUEST_DISK)
        } else if QUEUE_DISK.exists() {
            pointer(pointer(request, &REQUEST_QUEUE), &QUEUE_DISK)
        } else {
            core::ptr::null()
        }
    }
}
