//! From BTF to the globals of the kernel half.

use sonde_abi::offsets::{ABSENT, ALL, Want};

use super::btf::{Btf, BtfError};

/// Values for globals of the kernel half, by name.
pub type Globals = Vec<(&'static str, u32)>;

/// Values for every entry of the table, in its order.
#[derive(Debug, Default)]
pub struct Offsets {
    /// Global and value.
    pub values: Globals,
    /// Required members that this kernel does not have.
    pub missing: Vec<BtfError>,
}

/// Looks every offset up.
pub fn resolve(btf: &Btf<'_>) -> Offsets {
    let mut offsets = Offsets { values: Vec::with_capacity(ALL.len()), missing: Vec::new() };
    for entry in ALL {
        let found = match entry.want {
            Want::Parameters => btf.parameters(entry.container),
            Want::Bit => btf.bit(entry.container, entry.path),
            Want::Enumerator => btf.enumerator(entry.container, entry.path),
            Want::Size => btf.size(entry.container),
            Want::Required | Want::Optional => btf.offset(entry.container, entry.path),
        };
        let value = found.unwrap_or_else(|error| {
            if entry.want == Want::Required {
                offsets.missing.push(error);
            }
            ABSENT
        });
        offsets.values.push((entry.global, value));
    }
    offsets
}
