//! What bounds the tables, and what the bounds cost.

use std::ops::RangeInclusive;

use super::table::{Caps, Folded};
use crate::model::NetnsId;

/// What bounds the tables.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections tracked at once; as many as the kernel half tracks.
    pub connections: usize,
    /// Destinations, and likewise addresses that workloads accept on.
    pub flows: Caps,
    /// Destinations of failed attempts.
    pub failures: Caps,
    /// Addresses whose accept queues are shown.
    pub backlogs: Caps,
    /// Remote addresses with round-trip times.
    pub round_trips: Caps,
    /// Listening sockets.
    pub listeners: usize,
    /// Remote ports that are folded into the overflow, because nothing stable listens there.
    pub ephemeral_ports: Option<RangeInclusive<u16>>,
    /// The only network namespace whose loopback is told; without one, that of all.
    pub loopback_of: Option<NetnsId>,
}

/// What happened to the tables themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections whose owner could not be told.
    pub unowned: u64,
    /// Connections not tracked because the table was full.
    pub refused: u64,
    /// Ends of connections whose start was lost.
    pub starts_lost: u64,
    /// Connections whose end was lost, found by the sweep.
    pub ends_lost: u64,
    /// Listening sockets not shown because the table was full.
    pub listeners_refused: u64,
    /// Destinations and addresses accepted on that were folded.
    pub flows_folded: Folded,
    /// Destinations of failed attempts that were folded.
    pub failures_folded: Folded,
    /// Addresses listened on whose drops were folded.
    pub backlogs_folded: Folded,
    /// Addresses whose round-trip times were left out, at every pass and every end anew.
    pub round_trips_folded: Folded,
}
