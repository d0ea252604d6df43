//! Block devices, and the I/O on them.

use std::str::FromStr;

/// Major and minor number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    /// Driver.
    pub major: u32,
    /// Device of the driver.
    pub minor: u32,
}

impl FromStr for DeviceId {
    type Err = ();

    /// Reads `8:0`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once(':').ok_or(())?;
        Ok(Self { major: major.parse().map_err(|_| ())?, minor: minor.parse().map_err(|_| ())? })
    }
}

/// I/O of a cgroup on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskIo {
    /// Device.
    pub device: DeviceId,
    /// Completed reads.
    pub reads: Option<u64>,
    /// Completed writes.
    pub writes: Option<u64>,
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub written_bytes: Option<u64>,
    /// Completed discards.
    pub discards: Option<u64>,
    /// Bytes discarded.
    pub discarded_bytes: Option<u64>,
}

impl DiskIo {
    /// A device of which nothing is measured yet.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            reads: None,
            writes: None,
            read_bytes: None,
            written_bytes: None,
            discards: None,
            discarded_bytes: None,
        }
    }

    fn values(&self) -> [Option<u64>; 6] {
        let Self { reads, writes, read_bytes, written_bytes, discards, discarded_bytes, .. } = *self;
        [reads, writes, read_bytes, written_bytes, discards, discarded_bytes]
    }

    /// Whether anything is known of it.
    pub fn is_measured(&self) -> bool {
        self.values().iter().any(Option::is_some)
    }

    /// Whether it was written to.
    pub fn has_written(&self) -> bool {
        self.writes.or(self.written_bytes).is_some_and(|count| count > 0)
    }

    /// Whether anything was counted.
    pub fn is_busy(&self) -> bool {
        self.values().into_iter().flatten().any(|value| value > 0)
    }
}
