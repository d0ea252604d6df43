//! A layer's tar: sorted, owned by root, without times, so that its digest depends on its files alone.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// A file system being collected.
#[derive(Default)]
pub struct Layer {
    /// By path without the leading slash; a parent sorts before its children.
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    Directory,
    File { mode: u32, content: Vec<u8> },
}

impl Layer {
    /// Adds a directory and its parents.
    pub fn directory(&mut self, path: &str) {
        let ancestors = Path::new(path).ancestors().filter(|part| !part.as_os_str().is_empty());
        for part in ancestors {
            self.entries.entry(part.to_string_lossy().into_owned()).or_insert(Entry::Directory);
        }
    }

    /// Adds a file and its parents.
    pub fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.entries.insert(path.to_owned(), Entry::File { mode, content });
    }

    /// Writes the tar.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, entry) in self.entries {
            let (kind, mode, content, path) = match entry {
                Entry::Directory => (tar::EntryType::Directory, 0o755, Vec::new(), format!("{path}/")),
                Entry::File { mode, content } => (tar::EntryType::Regular, mode, content, path),
            };
            append(&mut tar, kind, mode, &path, &content)?;
        }
        tar.into_inner().context("end the layer")
    }
}

/// Appends one entry without owner and time.
pub fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    mode: u32,
    path: &str,
    content: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content).with_context(|| format!("add {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_the_order_of_adding_does_not_matter() {
        let mut one = Layer::default();
        one.file("usr/bin/a", 0o755, b"1".to_vec());
        one.file("etc/b", 0o644, b"2".to_vec());
        let mut two = Layer::default();
        two.file("etc/b", 0o644, b"2".to_vec());
        two.directory("usr");
        two.file("usr/bin/a", 0o755, b"1".to_vec());
        let bytes = one.finish().unwrap();
        assert_eq!(bytes, two.finish().unwrap());
        let mut tar = tar::Archive::new(bytes.as_slice());
        let entries: Vec<_> = tar.entries().unwrap().map(Result::unwrap).collect();
        let paths: Vec<_> = entries.iter().map(|entry| entry.path().unwrap().display().to_string()).collect();
        assert_eq!(paths, ["etc/", "etc/b", "usr/", "usr/bin/", "usr/bin/a"]);
        assert!(entries.iter().all(|entry| entry.header().mtime().unwrap() == 0));
    }
}
