//! One process owns a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Held as long as the directory is owned. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why the directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone else has it.
    #[error("{path} is in use by {owner}", path = path.display())]
    Taken {
        /// The lock's file.
        path: PathBuf,
        /// What the owner wrote of itself.
        owner: String,
    },
    /// The file cannot be made or locked.
    #[error("cannot lock {path}", path = path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl DirLock {
    /// Takes `dir`, which must be there.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Taken { owner: read_owner(&mut file), path: path.clone() });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // Only for people: what stands in the file has no part in the locking, so a full disk does not matter.
        let program = std::env::args().next().unwrap_or_default();
        let program =
            Path::new(&program).file_name().map_or("a process".into(), |name| name.to_string_lossy());
        let _ = file.set_len(0).and_then(|()| write!(file, "{program}, process {}", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn read_owner(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(200).read_to_string(&mut text));
    if read.is_err() || text.is_empty() { "another process".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_owner_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let error = DirLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DirLock::take(dir.path()).unwrap();
    }
}
