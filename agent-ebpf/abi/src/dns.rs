//! DNS: answers as they arrived, for the agent to read.

use core::mem::size_of;

use crate::record::{DecodeError, Header, header};

/// Kinds 0x70–0x7f belong to this family. An answer, of variable size.
pub const KIND_ANSWER: u16 = 0x70;

/// Bytes of an answer that are kept: what EDNS resolvers send at most over UDP (the recommendation of DNS flag day 2020).
/// Of a longer one, which only TCP carries, the records that fit are read.
pub const MESSAGE_MAX: usize = 1232;

/// An answer. In the ring it ends with the last byte of the message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnswerRecord {
    /// Kind and size; the size is that of this answer.
    pub header: Header,
    /// The message from its header on, as far as it fits.
    pub message: [u8; MESSAGE_MAX],
}

const _: () = assert!(size_of::<AnswerRecord>() == size_of::<Header>() + MESSAGE_MAX);

/// The message of a record from the ring.
///
/// # Errors
///
/// The record is shorter than it says, longer than one may be, or of another kind.
pub fn message(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let header = header(bytes)?;
    if header.kind != KIND_ANSWER {
        return Err(DecodeError::Kind);
    }
    let size = usize::from(header.size);
    if !(size_of::<Header>()..=size_of::<AnswerRecord>()).contains(&size) {
        return Err(DecodeError::Size);
    }
    bytes.get(size_of::<Header>()..size).ok_or(DecodeError::Short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn record(kind: u16, size: u16, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(size.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(message);
        bytes
    }

    #[test]
    fn a_message_is_as_long_as_its_header_says() {
        assert_eq!(message(&record(KIND_ANSWER, 11, b"abc")), Ok(&b"abc"[..]));
        assert_eq!(message(&record(KIND_ANSWER, 10, b"abc")), Ok(&b"ab"[..]), "padding of the ring");
        assert_eq!(message(&record(KIND_ANSWER, 12, b"abc")), Err(DecodeError::Short));
        assert_eq!(message(&record(KIND_ANSWER, 7, b"abc")), Err(DecodeError::Size));
        assert_eq!(message(&record(KIND_ANSWER, u16::MAX, &[0; 70_000])), Err(DecodeError::Size));
        assert_eq!(message(&record(0x60, 11, b"abc")), Err(DecodeError::Kind));
        assert_eq!(message(b"\x70\0"), Err(DecodeError::Short));
    }
}
