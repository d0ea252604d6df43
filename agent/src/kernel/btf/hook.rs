//! What tracepoints pass to programs, from their types `btf_trace_<name>`: pointers to functions whose first parameter
//! is private to the kernel.

use super::{Btf, BtfError, TYPE_BYTES, kind, word};

impl Btf<'_> {
    /// The type of a tracepoint's argument, counted from 0; of a pointer that of what it points to. `None` when it has
    /// no such argument or the type has no name.
    ///
    /// # Errors
    ///
    /// There is no such tracepoint, or the blob is damaged.
    pub fn argument(&self, hook: &str, argument: usize) -> Result<Option<String>, BtfError> {
        let name = format!("btf_trace_{hook}");
        let absent = || BtfError::Absent { container: name.clone(), path: "arguments".to_owned() };
        let typedef = self.find(kind::TYPEDEF, &name)?.ok_or_else(absent)?;
        let function = self.ty(self.pointee(typedef)?)?;
        if function.kind != kind::FUNC_PROTO {
            return Err(absent());
        }
        let index = argument + 1;
        if index >= function.vlen {
            return Ok(None);
        }
        let ty = word(self.blob, function.at + TYPE_BYTES + index * 8 + 4)?;
        let name = match self.pointee(ty)? {
            0 => "",
            id => self.string(self.ty(id)?.name)?,
        };
        Ok((!name.is_empty()).then(|| name.to_owned()))
    }

    /// Names and values of an enum, none when the kernel does not have it.
    ///
    /// # Errors
    ///
    /// The blob is damaged.
    pub fn enumerators(&self, name: &str) -> Result<Vec<(String, u32)>, BtfError> {
        let Some(id) = self.by_name.get(name) else { return Ok(Vec::new()) };
        let ty = self.ty(*id)?;
        let stride = if ty.kind == kind::ENUM64 { 12 } else { 8 };
        let enumerator = |index: usize| {
            let at = ty.at + TYPE_BYTES + index * stride;
            Ok((self.string(word(self.blob, at)?)?.to_owned(), word(self.blob, at + 4)?))
        };
        (0..ty.vlen).map(enumerator).collect()
    }

    /// What a type is, or points to, without typedefs and qualifiers; 0 for `void`.
    fn pointee(&self, id: u32) -> Result<u32, BtfError> {
        let id = self.strip(id)?;
        if id == 0 {
            return Ok(0);
        }
        let ty = self.ty(id)?;
        match ty.kind {
            kind::PTR => match ty.size_or_type {
                0 => Ok(0),
                target => self.strip(target),
            },
            _ => Ok(id),
        }
    }
}
