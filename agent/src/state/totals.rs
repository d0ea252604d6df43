//! Where bytes are added up for the whole node, whoever they belong to.

use std::net::IpAddr;

use super::Direction;

/// Takes everything that connections and datagrams move, each byte once, whether or not its owner is known, shown or
/// still there. The tables know nothing of who is behind it.
pub trait Totals {
    /// Adds what one socket moved since the last time. `peer` is the address at the other end, after address
    /// translation where that is known.
    fn add(&mut self, peer: IpAddr, sent: u64, received: u64);

    /// Adds one established connection.
    fn add_connection(&mut self, peer: IpAddr, direction: Direction);
}

/// Where nobody asks for totals.
impl Totals for () {
    fn add(&mut self, _: IpAddr, _: u64, _: u64) {}

    fn add_connection(&mut self, _: IpAddr, _: Direction) {}
}
