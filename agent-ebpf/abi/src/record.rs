//! The frame of every record that leaves the kernel: by a ring buffer or by an iterator's file.

use core::mem::size_of;

/// The first eight bytes of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows: a `KIND_*` constant of the family's module.
    pub kind: u16,
    /// Bytes of the whole record, header included.
    pub size: u16,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<Header>() == 8);

impl Header {
    /// A header for a record of type `T`.
    pub const fn of<T: Record>(kind: u16) -> Self {
        Self { kind, size: size_of::<T>() as u16, _pad: 0 }
    }
}

/// A record type: plain old data of a fixed layout.
///
/// # Safety
///
/// The type is `repr(C)`, begins with a [`Header`], has no padding bytes the compiler may leave unwritten, and every
/// bit pattern is a valid value.
pub unsafe trait Record: Copy {
    /// Whether a header's kind announces this type.
    fn has_kind(kind: u16) -> bool;
}

/// Why bytes are not the record they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than a header, or than the header says.
    Short,
    /// The header's size is not that of the type.
    Size,
    /// The header's kind is not one of the type's.
    Kind,
}

impl DecodeError {
    /// All reasons, for counters.
    pub const ALL: [Self; 3] = [Self::Short, Self::Size, Self::Kind];

    /// The value of the `code` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Size => "size",
            Self::Kind => "kind",
        }
    }
}

/// Reads the header at the start of `bytes`.
pub fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let field = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    match (field(0), field(2), bytes.len() >= size_of::<Header>()) {
        (Some(kind), Some(size), true) => Ok(Header { kind, size, _pad: 0 }),
        _ => Err(DecodeError::Short),
    }
}

/// Reads a record of type `T` from the start of `bytes`, after checking its header.
pub fn decode<T: Record>(bytes: &[u8]) -> Result<T, DecodeError> {
    let header = header(bytes)?;
    if !T::has_kind(header.kind) {
        return Err(DecodeError::Kind);
    }
    if usize::from(header.size) != size_of::<T>() {
        return Err(DecodeError::Size);
    }
    if bytes.len() < size_of::<T>() {
        return Err(DecodeError::Short);
    }
    // SAFETY: the length was checked above, `Record` promises that any bytes are a valid `T`, and the read does not
    // ask for alignment.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A key or value of a map: plain old data of a fixed layout, without a header.
///
/// # Safety
///
/// The type is `repr(C)`, has no padding bytes the compiler may leave unwritten, and every bit pattern is a valid value.
pub unsafe trait Plain: Copy {}

/// Reads a key or value; `None` when it is not of the type's size.
pub fn plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length is checked, `Plain` promises that any bytes are a valid `T`, and the read does not ask for
    // alignment.
    (bytes.len() == size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A name in a fixed field, up to its first NUL; bytes that are not UTF-8 end it.
pub fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    match core::str::from_utf8(&bytes[..end]) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
