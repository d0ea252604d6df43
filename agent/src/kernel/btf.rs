//! A reader for BTF, just large enough to find where a member of a kernel structure is.
//!
//! Format: Documentation/bpf/btf.rst in the kernel's sources. The blob is `/sys/kernel/btf/vmlinux` (5–8 MB), or a file
//! named by configuration, so every access is checked: a damaged blob is an error, not a panic.

mod hook;
mod sparse;

use std::collections::HashMap;

pub use sparse::{Hook, sparse};

const MAGIC: u16 = 0xeb9f;
const TYPE_BYTES: usize = 12;

/// `enum BTF_KIND_*`, include/uapi/linux/btf.h.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
    pub const MAX: u32 = 19;
}

/// What is wrong with a blob, or with a question to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Not BTF, or of the other byte order.
    #[error("not BTF: it begins with {found:#06x}, not {MAGIC:#06x}")]
    Magic {
        /// The first two bytes.
        found: u16,
    },
    /// It ends in the middle of something.
    #[error("BTF is cut off or damaged at byte {at}")]
    Damaged {
        /// Where.
        at: usize,
    },
    /// A kind of type that this reader does not know the size of.
    #[error("BTF type {id} is of unknown kind {kind}")]
    Kind {
        /// Type id.
        id: u32,
        /// Kind.
        kind: u32,
    },
    /// No such structure, member or enumerator.
    #[error("the kernel has no `{path}` in `{container}`")]
    Absent {
        /// Structure or enum.
        container: String,
        /// Member path or enumerator.
        path: String,
    },
    /// The member is a bit field.
    #[error("`{path}` in `{container}` is a bit field")]
    BitField {
        /// Structure.
        container: String,
        /// Member path.
        path: String,
    },
}

impl BtfError {
    /// The structure that was asked about, when the blob itself is fine.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Absent { container, .. } | Self::BitField { container, .. } => Some(container),
            Self::Magic { .. } | Self::Damaged { .. } | Self::Kind { .. } => None,
        }
    }
}

/// A parsed blob.
pub struct Btf<'a> {
    blob: &'a [u8],
    strings: usize,
    /// Where each type begins; type ids start at 1, `void` is 0.
    types: Vec<u32>,
    /// Structures, unions and enums by name; the first of a name wins, as in libbpf.
    by_name: HashMap<&'a str, u32>,
}

struct Type {
    at: usize,
    kind: u32,
    vlen: usize,
    bit_fields: bool,
    /// Size in bytes, or the id of another type.
    size_or_type: u32,
    name: u32,
}

/// Where a member is, and what.
struct Member {
    bits: u32,
    id: u32,
    is_bit_field: bool,
}

impl<'a> Btf<'a> {
    /// Indexes a blob.
    pub fn parse(blob: &'a [u8]) -> Result<Self, BtfError> {
        let found = u16::from_ne_bytes(bytes(blob, 0)?);
        if found != MAGIC {
            return Err(BtfError::Magic { found });
        }
        let header = |at| word(blob, at).map(|value| value as usize);
        let header_bytes = header(4)?;
        let types = header_bytes.saturating_add(header(8)?);
        let types_end = types.saturating_add(header(12)?);
        let strings = header_bytes.saturating_add(header(16)?);
        if types_end > blob.len() || strings > blob.len() {
            return Err(BtfError::Damaged { at: blob.len() });
        }
        let mut btf = Self { blob, strings, types: Vec::new(), by_name: HashMap::new() };
        btf.index(types, types_end)?;
        Ok(btf)
    }

    fn index(&mut self, mut at: usize, end: usize) -> Result<(), BtfError> {
        while at < end {
            let id = self.types.len() as u32 + 1;
            let ty = self.read(at)?;
            self.types.push(at as u32);
            if matches!(ty.kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64) && ty.name != 0 {
                let name = self.string(ty.name)?;
                self.by_name.entry(name).or_insert(id);
            }
            at += TYPE_BYTES + trailer(&ty, id)?;
        }
        Ok(())
    }

    /// Byte offset of a member; dots in `path` descend into embedded structures, anonymous ones are searched.
    pub fn offset(&self, container: &str, path: &str) -> Result<u32, BtfError> {
        let member = self.locate(container, path)?;
        match member.is_bit_field || member.bits % 8 != 0 {
            false => Ok(member.bits / 8),
            true => Err(BtfError::BitField { container: container.to_owned(), path: path.to_owned() }),
        }
    }

    /// Bit offset of a member, be it a bit field: of the lowest bit on little-endian machines.
    pub fn bit(&self, container: &str, path: &str) -> Result<u32, BtfError> {
        self.locate(container, path).map(|member| member.bits)
    }

    fn locate(&self, container: &str, path: &str) -> Result<Member, BtfError> {
        let absent = || BtfError::Absent { container: container.to_owned(), path: path.to_owned() };
        let id = *self.by_name.get(container).ok_or_else(absent)?;
        let mut found = Member { bits: 0, id, is_bit_field: false };
        for name in path.split('.') {
            let member = self.member(found.id, name, 0)?.ok_or_else(absent)?;
            found = Member { bits: found.bits + member.bits, id: self.strip(member.id)?, ..member };
        }
        Ok(found)
    }

    /// Size of a structure in bytes.
    pub fn size(&self, container: &str) -> Result<u32, BtfError> {
        let absent = || BtfError::Absent { container: container.to_owned(), path: String::new() };
        Ok(self.ty(*self.by_name.get(container).ok_or_else(absent)?)?.size_or_type)
    }

    /// Value of an enumerator.
    pub fn enumerator(&self, container: &str, name: &str) -> Result<u32, BtfError> {
        let absent = || BtfError::Absent { container: container.to_owned(), path: name.to_owned() };
        let ty = self.ty(*self.by_name.get(container).ok_or_else(absent)?)?;
        let stride = if ty.kind == kind::ENUM64 { 12 } else { 8 };
        for index in 0..ty.vlen {
            let at = ty.at + TYPE_BYTES + index * stride;
            if self.string(word(self.blob, at)?)? == name {
                return word(self.blob, at + 4);
            }
        }
        Err(absent())
    }

    /// Number of parameters of a function.
    pub fn parameters(&self, name: &str) -> Result<u32, BtfError> {
        let absent = || BtfError::Absent { container: name.to_owned(), path: String::new() };
        let function = self.ty(self.find(kind::FUNC, name)?.ok_or_else(absent)?)?;
        let prototype = self.ty(function.size_or_type)?;
        if prototype.kind == kind::FUNC_PROTO { Ok(prototype.vlen as u32) } else { Err(absent()) }
    }

    /// Id of the first type of a kind and name.
    fn find(&self, kind: u32, name: &str) -> Result<Option<u32>, BtfError> {
        for (index, at) in self.types.iter().enumerate() {
            let ty = self.read(*at as usize)?;
            if ty.kind == kind && self.string(ty.name)? == name {
                return Ok(Some(index as u32 + 1));
            }
        }
        Ok(None)
    }

    /// A member of `id`, or of an anonymous structure inside it.
    fn member(&self, id: u32, name: &str, depth: u32) -> Result<Option<Member>, BtfError> {
        const DEEPEST: u32 = 16;
        let ty = self.ty(id)?;
        if !matches!(ty.kind, kind::STRUCT | kind::UNION) || depth > DEEPEST {
            return Ok(None);
        }
        for index in 0..ty.vlen {
            let at = ty.at + TYPE_BYTES + index * 12;
            let (member_name, id) = (word(self.blob, at)?, word(self.blob, at + 4)?);
            let raw = word(self.blob, at + 8)?;
            // With the flag, the top byte is the size of a bit field and the rest its offset.
            let bits = if ty.bit_fields { raw & 0x00ff_ffff } else { raw };
            if member_name == 0 {
                if let Some(inner) = self.member(self.strip(id)?, name, depth + 1)? {
                    return Ok(Some(Member { bits: bits + inner.bits, ..inner }));
                }
            } else if self.string(member_name)? == name {
                return Ok(Some(Member { bits, id, is_bit_field: ty.bit_fields && raw >> 24 != 0 }));
            }
        }
        Ok(None)
    }

    /// Follows typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Result<u32, BtfError> {
        for _ in 0..32 {
            let ty = self.ty(id)?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.size_or_type
                }
                _ => return Ok(id),
            }
        }
        Ok(id)
    }

    fn ty(&self, id: u32) -> Result<Type, BtfError> {
        let index = (id as usize).wrapping_sub(1);
        let at = *self.types.get(index).ok_or(BtfError::Damaged { at: self.blob.len() })?;
        self.read(at as usize)
    }

    fn read(&self, at: usize) -> Result<Type, BtfError> {
        let info = word(self.blob, at + 4)?;
        Ok(Type {
            at,
            kind: info >> 24 & 0x1f,
            vlen: (info & 0xffff) as usize,
            bit_fields: info >> 31 == 1,
            size_or_type: word(self.blob, at + 8)?,
            name: word(self.blob, at)?,
        })
    }

    fn string(&self, offset: u32) -> Result<&'a str, BtfError> {
        let at = self.strings.saturating_add(offset as usize);
        let rest = self.blob.get(at..).ok_or(BtfError::Damaged { at })?;
        let end = rest.iter().position(|byte| *byte == 0).ok_or(BtfError::Damaged { at })?;
        std::str::from_utf8(&rest[..end]).map_err(|_| BtfError::Damaged { at })
    }
}

/// Bytes that follow the common part of a type.
fn trailer(ty: &Type, id: u32) -> Result<usize, BtfError> {
    Ok(match ty.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => ty.vlen * 12,
        kind::ENUM | kind::FUNC_PROTO => ty.vlen * 8,
        1..=kind::MAX => 0,
        kind => return Err(BtfError::Kind { id, kind }),
    })
}

fn word(blob: &[u8], at: usize) -> Result<u32, BtfError> {
    bytes(blob, at).map(u32::from_ne_bytes)
}

fn bytes<const N: usize>(blob: &[u8], at: usize) -> Result<[u8; N], BtfError> {
    let end = at.checked_add(N).ok_or(BtfError::Damaged { at })?;
    let slice = blob.get(at..end).ok_or(BtfError::Damaged { at })?;
    slice.try_into().map_err(|_| BtfError::Damaged { at })
}

#[cfg(test)]
#[path = "btf/tests.rs"]
mod tests;
