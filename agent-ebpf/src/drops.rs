//! Dropped packets: `skb_drop` (`tp_btf/kfree_skb`) counts them by the kernel's reason. Optional.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use sonde_abi::budget::DROPS_MAX;

use crate::{maps::DROPS, mem::add};

/// `trace_kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason, …)`, include/trace/events/skb.h;
/// the reason came with Linux 5.17.
#[btf_tracepoint(function = "kfree_skb")]
pub fn skb_drop(ctx: BtfTracePointContext) -> i32 {
    let reason: u32 = ctx.arg(2);
    let slot = if reason < DROPS_MAX as u32 { reason } else { 0 };
    if let Some(count) = DROPS.get_ptr_mut(slot) {
        // SAFETY: a value of this CPU, which an interrupt may add to as well.
        unsafe { add(count, 1) };
    }
    0
}
