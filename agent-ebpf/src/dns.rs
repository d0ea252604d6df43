//! DNS: `dns_ingress` (`cgroup_skb/ingress` at the root of the unified hierarchy) hands answers from port 53 to the agent.
//!
//! Only what may name an address leaves the kernel: a response without an error that answers one question. TCP is
//! sent away after two reads.

use aya_ebpf::{
    helpers::generated::{bpf_ringbuf_output, bpf_skb_cgroup_id, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use sonde_abi::{
    Header,
    codes::Loss,
    dns::{AnswerRecord, AnswerTo, BEFORE_MESSAGE, KIND_ANSWER, MESSAGE_MAX},
};

use crate::{
    loss,
    maps::{ANSWER, ANSWERS, wakeup_flags},
    packet::{self, watch},
};

/// The port that resolvers are asked on.
const PORT: u16 = 53;
/// Bytes of a message's header, and of the smallest answer: a question and a record of one label each.
const HEADER: usize = 12;
/// Bytes of the length before a message on TCP.
const LENGTH: usize = 2;

watch! {
    /// Every packet that arrives at a socket.
    cgroup_skb(ingress) SkBuffContext, dns_ingress => arrived
}

#[inline(always)]
fn arrived(ctx: &SkBuffContext) {
    let message = match packet::protocol(ctx) {
        Some(packet::TCP) if packet::remote_port(ctx) == PORT => over_tcp(ctx),
        Some(packet::TCP) | None => None,
        Some(_) => over_udp(ctx),
    };
    if let Some(at) = message
        && is_answer(ctx, at)
    {
        hand_over(ctx, at);
    }
}

/// Where the message begins.
#[inline(always)]
fn over_udp(ctx: &SkBuffContext) -> Option<usize> {
    let at = packet::udp_header(ctx)?;
    (packet::be16(ctx, at)? == PORT).then_some(at + packet::UDP_HEADER)
}

/// Where the message begins. A segment that goes on with an earlier one is taken for a message, which it hardly ever
/// looks like.
#[inline(always)]
fn over_tcp(ctx: &SkBuffContext) -> Option<usize> {
    let at = packet::tcp_header(ctx)?;
    let data_offset: u8 = ctx.load(at + 12).ok()?;
    Some(at + usize::from(data_offset >> 4) * 4 + LENGTH)
}

/// RFC 1035 §4.1.1: a response (QR) to a standard query, no error, one question, at least one answer.
#[inline(always)]
fn is_answer(ctx: &SkBuffContext, at: usize) -> bool {
    const RESPONSE_TO_QUERY: u8 = 0x80;
    const QR_AND_OPCODE: u8 = 0xf8;
    const RCODE: u8 = 0x0f;
    let Ok(header) = ctx.load::<[u8; HEADER]>(at) else { return false };
    header[2] & QR_AND_OPCODE == RESPONSE_TO_QUERY
        && header[3] & RCODE == 0
        && header[4] == 0
        && header[5] == 1
        && (header[6] != 0 || header[7] != 0)
}

#[inline(always)]
fn hand_over(ctx: &SkBuffContext, at: usize) {
    let Some(record) = ANSWER.get_ptr_mut(0) else { return };
    let Some(rest) = packet::len(ctx).checked_sub(at) else { return };
    let Some(len) = bounded(rest) else { return };
    // SAFETY: the record belongs to this CPU, and packets of sockets arrive with soft interrupts off, so that no other
    // run of this program comes between. Both helpers are given a length within the record.
    unsafe {
        let message = (&raw mut (*record).message).cast();
        if bpf_skb_load_bytes(ctx.skb.skb.cast(), at as u32, message, len as u32) != 0 {
            return;
        }
        let size = BEFORE_MESSAGE + len;
        (*record).to =
            AnswerTo { cgroup_v2: bpf_skb_cgroup_id(ctx.skb.skb), netns: packet::netns(ctx), _pad: 0 };
        (*record).header = Header { kind: KIND_ANSWER, size: size as u16, _pad: 0 };
        let ring = (&raw const ANSWERS).cast_mut().cast();
        if bpf_ringbuf_output(ring, record.cast(), size as u64, wakeup_flags(&ANSWERS)) != 0 {
            loss::count(Loss::DnsRingFull);
        }
    }
}

/// A length that the verifier knows to be within a message, and not zero.
#[inline(always)]
fn bounded(rest: usize) -> Option<usize> {
    let len = core::hint::black_box(if rest > MESSAGE_MAX { MESSAGE_MAX } else { rest });
    #[expect(
        clippy::manual_range_contains,
        reason = "one comparison of a difference tells the verifier nothing"
    )]
    (len >= HEADER && len <= MESSAGE_MAX).then_some(len)
}

const _: () = assert!(size_of::<AnswerRecord>() == BEFORE_MESSAGE + MESSAGE_MAX);
