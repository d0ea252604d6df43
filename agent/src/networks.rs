//! Where the bytes of the whole node go: totals by the zone and the class of the network at the other end.
//!
//! Traffic between zones and to the outside costs money. It is added up over all sockets of the node, whoever owns them:
//! also those of containers that are too young to be shown, gone, unnamed, or folded. Each local socket counts what it
//! sent and received itself, so a connection between two sockets of this node counts on both sides; its class is then
//! `loopback` or `local`, and leaving those out leaves what left the node.
//!
//! Bounded by the number of configured networks, and by [`local`]'s own cap.

mod classes;
mod emit;
mod local;
mod rules;
mod totals;

pub use rules::{Network, Networks};
pub use totals::NodeTotals;
