//! The kernel half of Sonde: one file per probe family, entry points above, helpers below.
//!
//! Everything a program reads of a kernel structure goes through an offset from BTF ([`offsets`]); everything it drops
//! is counted ([`loss`]); what both halves must agree on stands in `sonde-abi`.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(missing_docs, reason = "the attribute macros generate public items without documentation")]

mod block;
mod cgroup;
mod dns;
mod drops;
mod files;
mod loss;
mod maps;
mod mem;
mod offsets;
mod owner;
mod packet;
mod process;
mod sched;
mod seq;
mod sock;
mod tcp;
mod udp;

/// Helpers used here (`bpf_probe_read_kernel`, `bpf_skc_to_tcp_sock`, …) are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
