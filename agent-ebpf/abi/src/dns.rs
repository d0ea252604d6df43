//! DNS: answers as they arrived, for the agent to read.

use core::mem::size_of;

use crate::record::{DecodeError, Header, Plain, header, plain};

/// Kinds 0x70–0x7f belong to this family. An answer, of variable size.
pub const KIND_ANSWER: u16 = 0x70;

/// Bytes of an answer that are kept: what EDNS resolvers send at most over UDP (the recommendation of DNS flag day 2020).
/// Of a longer one, which only TCP carries, the records that fit are read.
pub const MESSAGE_MAX: usize = 1232;

/// Who asked, as far as the packet's socket tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerTo {
    /// Cgroup id of the socket on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Network namespace of the socket; 0 when unknown.
    pub netns: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<AnswerTo>() == 16);

// SAFETY: repr(C), the fields add up to the asserted size without gaps, integers.
unsafe impl Plain for AnswerTo {}

/// Bytes of a record before its message.
pub const BEFORE_MESSAGE: usize = size_of::<Header>() + size_of::<AnswerTo>();

/// An answer. In the ring it ends with the last byte of the message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnswerRecord {
    /// Kind and size; the size is that of this answer.
    pub header: Header,
    /// Who asked.
    pub to: AnswerTo,
    /// The message from its header on, as far as it fits.
    pub message: [u8; MESSAGE_MAX],
}

const _: () = assert!(size_of::<AnswerRecord>() == BEFORE_MESSAGE + MESSAGE_MAX);

/// Who asked, and the message of a record from the ring.
///
/// # Errors
///
/// The record is shorter than it says, longer than one may be, or of another kind.
pub fn message(bytes: &[u8]) -> Result<(AnswerTo, &[u8]), DecodeError> {
    let header = header(bytes)?;
    if header.kind != KIND_ANSWER {
        return Err(DecodeError::Kind);
    }
    let size = usize::from(header.size);
    if !(BEFORE_MESSAGE..=size_of::<AnswerRecord>()).contains(&size) {
        return Err(DecodeError::Size);
    }
    let to = bytes.get(size_of::<Header>()..BEFORE_MESSAGE).and_then(plain).ok_or(DecodeError::Short)?;
    Ok((to, bytes.get(BEFORE_MESSAGE..size).ok_or(DecodeError::Short)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const TO: AnswerTo = AnswerTo { cgroup_v2: 5, netns: 6, _pad: 0 };

    fn record(kind: u16, size: u16, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(size.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(TO.cgroup_v2.to_ne_bytes());
        bytes.extend(u64::from(TO.netns).to_le_bytes());
        bytes.extend(message);
        bytes
    }

    #[test]
    fn a_message_is_as_long_as_its_header_says() {
        assert_eq!(message(&record(KIND_ANSWER, 27, b"abc")), Ok((TO, &b"abc"[..])));
        assert_eq!(message(&record(KIND_ANSWER, 26, b"abc")), Ok((TO, &b"ab"[..])), "padding of the ring");
        assert_eq!(message(&record(KIND_ANSWER, 28, b"abc")), Err(DecodeError::Short));
        assert_eq!(message(&record(KIND_ANSWER, 23, b"abc")), Err(DecodeError::Size));
        assert_eq!(message(&record(KIND_ANSWER, 24, b"abc")[..20]), Err(DecodeError::Short));
        assert_eq!(message(&record(KIND_ANSWER, u16::MAX, &[0; 70_000])), Err(DecodeError::Size));
        assert_eq!(message(&record(0x60, 27, b"abc")), Err(DecodeError::Kind));
        assert_eq!(message(b"\x70\0"), Err(DecodeError::Short));
    }
}
