//! What the kernel half and the user half agree on.
//!
//! Rules of this crate:
//!
//! * only `core`; fixed-width integers, byte arrays for addresses, explicit padding; no `bool`, `usize` or enum in
//!   memory that a program writes;
//! * every record begins with a [`Header`] whose `kind` and `size` the reader checks before anything else;
//! * sizes are asserted beside each type, and every table that both halves need (offsets, loss codes, map sizes)
//!   stands here once.

#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

#[cfg(test)]
extern crate std;

pub mod block;
pub mod budget;
pub mod cgroup;
pub mod codes;
pub mod dns;
pub mod files;
pub mod latency;
pub mod offsets;
pub mod process;
pub mod record;
pub mod tcp;
pub mod udp;

pub use record::{DecodeError, Header, Record};
