//! The library and the real program against stand-ins on loopback.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod bad_input;
mod commands;
mod edge;
mod forwarding;
mod harness;
mod life_cycle;
mod standin;
mod tls;
