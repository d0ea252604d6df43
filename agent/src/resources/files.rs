//! The few shapes that files of cgroups have. All are small; reading is bounded all the same.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Larger than any cgroup file: `io.stat` of a thousand devices.
const MAX_BYTES: u64 = 256 * 1024;

/// The text of a file, or `None` when it cannot be read, is not text, or is too long to be what it should be.
pub(super) fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let read = File::open(path).ok()?.take(MAX_BYTES + 1).read_to_string(&mut text).ok()?;
    (read as u64 <= MAX_BYTES).then_some(text)
}

/// A file with one number. `max` and negative numbers mean "no limit" and are `None`.
pub(super) fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// The value after a key in a file of `key value` lines.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
