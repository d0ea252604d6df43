//! The walk over open files: programs `file_iter` and `file_iter_probed`.

use sonde_abi::{DecodeError, Record, files::FilesRecord, record, tcp::TcpRecord, udp::UdpRecord};

use super::{tcp, udp};
use crate::model::{CgroupId, HostPid, OpenFiles, Origin, TcpSocket, UdpSocket};

/// A row of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// An open TCP socket.
    Tcp(TcpSocket),
    /// An open UDP socket.
    Udp(UdpSocket),
    /// How many files a process has.
    Count(OpenFiles),
}

/// Decodes a row.
///
/// # Errors
///
/// As [`super::decode`].
pub fn decode(bytes: &[u8]) -> Result<Row, DecodeError> {
    let kind = record::header(bytes)?.kind;
    if TcpRecord::has_kind(kind) {
        return tcp::decode(bytes).map(Row::Tcp);
    }
    if UdpRecord::has_kind(kind) {
        return udp::decode(bytes).map(Row::Udp);
    }
    count(bytes).map(Row::Count)
}

fn count(bytes: &[u8]) -> Result<OpenFiles, DecodeError> {
    let record: FilesRecord = record::decode(bytes)?;
    Ok(OpenFiles {
        origin: Origin {
            pid: HostPid(record.tgid),
            v2: CgroupId(record.cgroup_v2),
            v1: CgroupId(record.cgroup_v1),
            comm: record::text(&record.comm).into(),
        },
        files: record.files.into(),
        sockets: record.sockets.into(),
        limit: Some(record.limit).filter(|limit| *limit > 0),
    })
}

#[cfg(test)]
mod tests {
    use sonde_abi::Header;
    use sonde_abi::files::KIND_FILES;

    use super::*;

    #[test]
    fn a_row_is_read_and_a_limit_of_zero_is_unknown() {
        let header = Header::of::<FilesRecord>(KIND_FILES);
        let bytes = |limit: u64| {
            let mut bytes = [header.kind.to_ne_bytes(), header.size.to_ne_bytes(), [0; 2], [0; 2]].concat();
            bytes.extend([2, 1, limit].map(u64::to_ne_bytes).concat());
            bytes.extend(b"name\0\0\0\0\0\0\0\0\0\0\0\0");
            bytes.extend([5u32, 3, 77, 0].map(u32::to_ne_bytes).concat());
            bytes
        };
        let origin = Origin { pid: HostPid(77), v2: CgroupId(2), v1: CgroupId(1), comm: "name".into() };
        let expected = OpenFiles { origin, files: 5, sockets: 3, limit: Some(1024) };
        assert_eq!(decode(&bytes(1024)), Ok(Row::Count(expected.clone())));
        assert_eq!(decode(&bytes(0)), Ok(Row::Count(OpenFiles { limit: None, ..expected })));
        assert_eq!(decode(&bytes(0)[..40]), Err(DecodeError::Short));
    }
}
