//! Block devices: program `bio_queue`.

use sonde_abi::block::{BioCounts, BioKey};

use crate::model::{Departed, DeviceId};
use crate::probes::process;
use crate::state::DiskCounts;

/// I/O of one owner on one disk, as the kernel half has added it up.
pub fn disk_io(key: &BioKey, counts: &BioCounts) -> (Departed, DeviceId, DiskCounts) {
    let device = DeviceId { major: key.major, minor: key.minor };
    let BioCounts { reads, writes, read_bytes, written_bytes } = *counts;
    (process::owner(&key.owner), device, DiskCounts { reads, writes, read_bytes, written_bytes })
}
