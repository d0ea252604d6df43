//! A small stand-in for the kernel's BTF: the hooks' types under their true ids, and nothing else.
//!
//! aya finds the id of a hook by searching a parsed BTF. Parsing all of the kernel's 150,000 types for that takes 25 MB,
//! which would be the agent's peak for the rest of its life. This blob has the same ids with empty types between them,
//! and is parsed in 6 MB.

use super::{Btf, BtfError, MAGIC, kind};

/// Bytes of `struct btf_header`.
const HEADER_BYTES: u32 = 24;

/// A hook, as the kernel's types name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tracepoint's typedef `btf_trace_<name>`.
    Tracepoint(&'static str),
    /// An iterator's function `bpf_iter_<name>`.
    Iterator(&'static str),
    /// A function by its own name.
    Function(&'static str),
}

impl Hook {
    fn type_name(self) -> (u32, String) {
        match self {
            Self::Tracepoint(name) => (kind::TYPEDEF, format!("btf_trace_{name}")),
            Self::Iterator(name) => (kind::FUNC, format!("bpf_iter_{name}")),
            Self::Function(name) => (kind::FUNC, name.to_owned()),
        }
    }
}

/// Writes the stand-in. A hook that the kernel does not have is left out; asking for it later says so.
///
/// # Errors
///
/// The kernel's BTF is damaged.
pub fn sparse(btf: &Btf<'_>, hooks: &[Hook]) -> Result<Vec<u8>, BtfError> {
    let mut found = Vec::new();
    for hook in hooks {
        let (kind, name) = hook.type_name();
        if let Some(id) = btf.find(kind, &name)? {
            found.push((id, kind, name));
        }
    }
    found.sort_unstable();
    found.dedup();
    // Several programs may share a hook.
    found.dedup();
    let last = found.last().map_or(0, |(id, ..)| *id);
    let mut types: Vec<u32> = Vec::with_capacity(last as usize * 3);
    let mut strings = vec![0];
    let mut found = found.into_iter().peekable();
    for id in 1..=last {
        match found.next_if(|(wanted, ..)| *wanted == id) {
            Some((_, kind, name)) => {
                types.extend([strings.len() as u32, kind << 24, 0]);
                strings.extend_from_slice(name.as_bytes());
                strings.push(0);
            }
            None => types.extend([0, kind::FWD << 24, 0]),
        }
    }
    Ok(blob(&types, &strings))
}

fn blob(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let type_bytes = types.len() as u32 * 4;
    let mut blob = Vec::with_capacity(HEADER_BYTES as usize + type_bytes as usize + strings.len());
    blob.extend(MAGIC.to_ne_bytes());
    // Version 1, no flags.
    blob.extend([1, 0]);
    let header = [HEADER_BYTES, 0, type_bytes, type_bytes, strings.len() as u32];
    blob.extend(header.iter().chain(types).flat_map(|word| word.to_ne_bytes()));
    blob.extend_from_slice(strings);
    blob
}
