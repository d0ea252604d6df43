//! Probe families: from the bytes of the kernel half to the agent's own values.
//!
//! One file per family, named as in the kernel half.

pub mod block;
pub mod cgroup;
pub mod dns;
pub mod files;
pub mod process;
pub mod tcp;
pub mod udp;

use sonde_abi::{
    DecodeError, cgroup::CgroupRecord, process::TaskRecord, record, tcp::TcpRecord, udp::UdpRecord,
};

use crate::model::{TcpSocket, UdpSocket};

/// An event from the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// In a connection's life.
    Tcp(TcpSocket),
    /// In a cgroup's life.
    Cgroup(cgroup::CgroupEvent),
    /// In a process' life.
    Process(process::ProcessEvent),
    /// In the life of a UDP socket, or of a process that uses some.
    Udp(UdpSocket),
}

/// Decodes one record of the ring.
///
/// # Errors
///
/// The record is shorter than it says, of another size than both halves agreed on, or of an unknown kind.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    use sonde_abi::Record;
    let kind = record::header(bytes)?.kind;
    if TcpRecord::has_kind(kind) {
        return tcp::decode(bytes).map(Event::Tcp);
    }
    if CgroupRecord::has_kind(kind) {
        return cgroup::decode(bytes).map(Event::Cgroup);
    }
    if TaskRecord::has_kind(kind) {
        return process::decode(bytes).map(Event::Process);
    }
    if UdpRecord::has_kind(kind) {
        return udp::decode(bytes).map(Event::Udp);
    }
    Err(DecodeError::Kind)
}
