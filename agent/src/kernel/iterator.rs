//! Reading an iterator: attach, read to the end, hand over whole rows.

use std::io::{self, Read};

use aya::{Ebpf, programs::Iter};

use super::feature::{Choice, FeatureId};
use crate::pace::Pace;

/// The kernel fills at most eight pages a read (`bpf_seq_read`, kernel/bpf/bpf_iter.c).
const BUFFER_BYTES: usize = 64 * 1024;

/// Runs the iterator of a feature and hands every row to `handle`, with pauses between reads.
///
/// # Errors
///
/// The kernel's error of creating or reading the iterator.
pub fn run(
    ebpf: &mut Ebpf,
    feature: FeatureId,
    buffer: &mut Vec<u8>,
    pace: &mut Pace,
    mut handle: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut file = open(ebpf, feature)?;
    buffer.resize(BUFFER_BYTES, 0);
    let mut filled = 0;
    loop {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            // The kernel gave up its turn after a million objects without a row; more may follow.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        let used = hand_over(&buffer[..filled], &mut handle);
        buffer.copy_within(used..filled, 0);
        filled -= used;
        pace.breathe();
    }
    if filled > 0 {
        // A rest shorter than its header says: the decoder counts it.
        handle(&buffer[..filled]);
    }
    Ok(())
}

/// The choice that was taken is the one that is loaded.
fn open(ebpf: &mut Ebpf, feature: FeatureId) -> io::Result<std::fs::File> {
    let mut names = feature.chain().iter().flat_map(Choice::programs);
    let is_loaded = |name: &&str| ebpf.program(name).is_some_and(|program| program.fd().is_ok());
    let name = names.find(is_loaded).ok_or(io::ErrorKind::Unsupported)?;
    let program = ebpf.program_mut(name).ok_or(io::ErrorKind::NotFound)?;
    let program: &mut Iter = program.try_into().map_err(io::Error::other)?;
    let link = program.attach().map_err(io::Error::other)?;
    program.take_link(link).map_err(io::Error::other)?.into_file().map_err(io::Error::other)
}

/// Hands over complete rows; returns the bytes they took.
fn hand_over(bytes: &[u8], handle: &mut impl FnMut(&[u8])) -> usize {
    let mut used = 0;
    while let Ok(header) = sonde_abi::record::header(&bytes[used..]) {
        let size = usize::from(header.size);
        match bytes.get(used..used + size) {
            Some(row) if size > 0 => handle(row),
            // A size of zero could never be passed by: give all of it to the decoder, which counts it.
            Some(_) => {
                handle(&bytes[used..]);
                return bytes.len();
            }
            None => break,
        }
        used += size;
    }
    used
}
