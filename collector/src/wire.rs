//! Messages that are exchanged with other programs. Nothing else in the project is serialized for others.

mod estimate;
pub mod remote_write;
