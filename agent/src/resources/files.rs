//! The few shapes that files of cgroups and of procfs have. Reading is bounded: the former by size, as all are small,
//! the latter by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Larger than any cgroup file: `io.stat` of a thousand devices.
const MAX_BYTES: u64 = 256 * 1024;
/// Longer than any line of procfs: the kernel writes a mount's paths and options into a page each, escaped fourfold.
const MAX_LINE: u64 = 64 * 1024;

/// The text of a file, or `None` when it cannot be read, is not text, or is too long to be what it should be.
pub(super) fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let read = File::open(path).ok()?.take(MAX_BYTES + 1).read_to_string(&mut text).ok()?;
    (read as u64 <= MAX_BYTES).then_some(text)
}

/// Directories that others are opened below: the roots of hierarchies. The way from the file system's root to there is
/// longer than the way on, and is walked once.
#[derive(Debug, Default)]
pub(super) struct Roots(Vec<(PathBuf, OwnedFd)>);

impl Roots {
    fn at(&mut self, root: &Path) -> io::Result<BorrowedFd<'_>> {
        let known = self.0.iter().position(|(path, _)| path == root);
        let index = match known {
            Some(index) => index,
            None => {
                self.0.push((root.to_owned(), rustix::fs::open(root, DIRECTORY, Mode::empty())?));
                self.0.len() - 1
            }
        };
        Ok(self.0[index].1.as_fd())
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The files of one directory, read one after the other into the same buffer: the path is walked once, and nothing is
/// allocated per file.
pub(super) struct Files<'b> {
    directory: OwnedFd,
    buffer: &'b mut Vec<u8>,
}

impl<'b> Files<'b> {
    /// Opens a directory below a root, if there is one. The path is absolute within its hierarchy.
    pub(super) fn open(roots: &mut Roots, root: &Path, path: &str, buffer: &'b mut Vec<u8>) -> Option<Self> {
        let relative = match path.trim_start_matches('/') {
            "" => ".",
            relative => relative,
        };
        let directory = rustix::fs::openat(roots.at(root).ok()?, relative, DIRECTORY, Mode::empty()).ok()?;
        Some(Self { directory, buffer })
    }

    /// The text of a file, under the conditions of [`text`].
    pub(super) fn text(&mut self, name: &str) -> Option<&str> {
        self.first(&[name])
    }

    /// The text of the first of several files that is there.
    pub(super) fn first(&mut self, names: &[&str]) -> Option<&str> {
        let is_read = names.iter().any(|name| self.read(name).is_ok());
        (is_read && self.buffer.len() as u64 <= MAX_BYTES).then(|| std::str::from_utf8(self.buffer).ok())?
    }

    fn read(&mut self, name: &str) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        self.buffer.clear();
        read_all(file.into(), self.buffer)
    }

    /// A file with one number. `max` and negative numbers mean "no limit" and are `None`.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }
}

/// Reads until the end or past the bound, without asking for a size, which these files do not have. Their text is one
/// record of the kernel's (`seq_read_iter` and `cgroup_seqfile_show`), of which a read gets as much as it has room for:
/// what does not fill the room is the end, and needs no second read to show it.
fn read_all(mut file: File, buffer: &mut Vec<u8>) -> io::Result<()> {
    const STEP: usize = 8192;
    loop {
        let length = buffer.len();
        buffer.resize(length + STEP, 0);
        let read = file.read(&mut buffer[length..]);
        buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        if read? < STEP || buffer.len() as u64 > MAX_BYTES {
            return Ok(());
        }
    }
}

/// Keys and values of a file of `key value` lines; others are skipped.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// Shows each line of a file to `take` until that has enough, or `max_bytes` are read. A line that this cuts, and one
/// above 64 KiB, is left out. Returns whether `take` had all that it wanted.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn lines(
    path: &Path,
    max_bytes: u64,
    mut take: impl FnMut(&str) -> ControlFlow<()>,
) -> io::Result<bool> {
    let mut reader = BufReader::new(File::open(path)?.take(max_bytes));
    let mut line = Vec::new();
    let (mut is_rest, mut has_all) = (false, true);
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(has_all && reader.get_ref().limit() > 0);
        }
        let ends = line.last() == Some(&b'\n');
        let is_whole = ends || (line.len() as u64) < MAX_LINE && reader.get_ref().limit() > 0;
        has_all &= is_whole;
        if is_whole && !is_rest && take(String::from_utf8_lossy(&line).trim_end_matches('\n')).is_break() {
            return Ok(has_all);
        }
        is_rest = !ends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, max_bytes: u64) -> Vec<String> {
        read_all(text, max_bytes).0
    }

    fn read_all(text: &str, max_bytes: u64) -> (Vec<String>, bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut found = Vec::new();
        let taken = lines(file.path(), max_bytes, |line| {
            found.push(line.to_owned());
            if line == "stop" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (found, taken.unwrap())
    }

    #[test]
    fn what_is_left_out_is_told() {
        let long = "x".repeat(MAX_LINE as usize + 10);
        for (text, max_bytes, has_all) in [
            ("a\nb\n", 100, true),
            ("a\nb\n", 3, false),
            ("a\nstop\nb\n", 7, true),
            ("", 100, true),
            (&format!("{long}\na\n"), u64::MAX, false),
        ] {
            assert_eq!(read_all(text, max_bytes).1, has_all, "{max_bytes} bytes of {} ", text.len());
        }
    }

    #[test]
    fn lines_are_whole_or_left_out() {
        assert_eq!(read("a\n\nbc", u64::MAX), ["a", "", "bc"]);
        assert_eq!(read("a\nstop\nb\n", u64::MAX), ["a", "stop"]);
        assert_eq!(read("10.0.0.1\n10.0.0.17\n", 17), ["10.0.0.1"], "the second would be another address");
        let long = "x".repeat(MAX_LINE as usize + 10);
        assert_eq!(read(&format!("a\n{long}\nb\n"), u64::MAX), ["a", "b"]);
    }

    #[test]
    fn an_absent_file_is_an_error() {
        let error = lines(Path::new("/nonexistent"), 1, |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
