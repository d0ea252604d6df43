//! Cgroups: programs `cgroup_mkdir` and `cgroup_rmdir`.

use sonde_abi::{
    DecodeError,
    cgroup::{CgroupRecord, HIERARCHY_V1, KIND_CREATED, PATH_BYTES},
    record,
};

use crate::model::CgroupId;

/// A cgroup came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupEvent {
    /// It came.
    pub created: bool,
    /// It is on the v1 memory hierarchy, else on the unified one.
    pub v1: bool,
    /// Its id.
    pub id: CgroupId,
    /// Its path below the hierarchy's root; `None` when it was too long to be handed over.
    pub path: Option<Box<str>>,
}

/// Decodes an event.
///
/// # Errors
///
/// As [`super::decode`].
pub fn decode(bytes: &[u8]) -> Result<CgroupEvent, DecodeError> {
    let record: CgroupRecord = record::decode(bytes)?;
    let path = record::text(&record.path);
    let whole = !path.is_empty() && (record.path_len as usize) < PATH_BYTES;
    Ok(CgroupEvent {
        created: record.header.kind == KIND_CREATED,
        v1: record.hierarchy == HIERARCHY_V1,
        id: CgroupId(record.id),
        path: whole.then(|| path.into()),
    })
}
